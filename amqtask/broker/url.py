"""Broker URLs: amqp:// and amqps:// texts to values, and lists of them for failover.

Owns the notation (RabbitMQ's URI specification with its TLS query parameters, and ``dev://`` for the dev broker that
:mod:`amqtask.app.dev` starts) and the masking of passwords.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

PORT = 5672
TLS_PORT = 5671

_SEPARATOR = re.compile(r"\s*[;,]\s*(?=[A-Za-z][A-Za-z0-9+.\-]*://)")
_TRUE = {"verify_peer": True, "true": True, "1": True, "verify_none": False, "false": False, "0": False}
_OTHERS = {
    "redis": "a Redis",
    "rediss": "a Redis",
    "sqs": "an Amazon SQS",
    "kafka": "a Kafka",
    "mongodb": "a MongoDB",
    "memory": "an in-memory",
    "filesystem": "a filesystem",
    "http": "an HTTP",
    "https": "an HTTP",
}


@dataclass(frozen=True, slots=True)
class BrokerURL:
    """Where a broker is and who we are there. ``str()`` never shows the password.

    Attributes:
        external: log in with the client certificate (SASL EXTERNAL) instead of user and password.
        ca_file, cert_file, key_file, verify: TLS settings given in the URL; None leaves them to the options.
        heartbeat, connect_timeout: seconds, given in the URL; None leaves them to the options.
        dev: a dev broker that was started for this process tree: once it refuses connections it is gone for good.
    """

    host: str = "localhost"
    port: int = PORT
    vhost: str = "/"
    user: str = "guest"
    password: str = field(default="guest", repr=False)
    tls: bool = False
    external: bool = False
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool | None = None
    heartbeat: int | None = None
    connect_timeout: float | None = None
    dev: bool = False

    @classmethod
    def parse(cls, text: str) -> BrokerURL:
        """Read ``amqp[s]://user:password@host:port/vhost?cacertfile=...``.

        A missing vhost is ``/``. Parts are percent-decoded, so a vhost ``a/b`` is written ``a%2Fb``.

        Raises:
            ConfigError: another scheme, an impossible port, or an unknown query parameter. Never shows a password.
        """
        text = text.strip()
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise ConfigError(f"broker URL {mask(text)!r}: {error}") from None
        _check_scheme(parts, text)
        tls = parts.scheme == "amqps"
        options = _query(parts, text)
        user, password = parts.username, parts.password
        external = options.pop("external", False) or (user is None and "cert_file" in options)
        return cls(
            host=parts.hostname or "localhost",
            port=port or (TLS_PORT if tls else PORT),
            vhost=_vhost(parts.path),
            user="guest" if user is None else unquote(user),
            password="guest" if user is None else unquote(password or ""),
            tls=tls,
            external=bool(external),
            **options,  # type: ignore[arg-type]  # the keys and types are those of _PARAMETERS
        )

    @property
    def where(self) -> str:
        """``host:port``, for messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        scheme = "amqps" if self.tls else "amqp"
        vhost = "%2F" if self.vhost == "/" else self.vhost.replace("/", "%2F")
        return f"{scheme}://{self.user}:***@{self.where}/{vhost}"


def parse_urls(urls: str | Sequence[str]) -> tuple[BrokerURL, ...]:
    """Read one or more broker URLs; a text may hold several, joined by ``;`` or ``,``.

    Raises:
        ConfigError: see :meth:`BrokerURL.parse`; also when there is none.
    """
    texts = [urls] if isinstance(urls, str) else list(urls)
    pieces = [piece for text in texts for piece in _SEPARATOR.split(text.strip().rstrip(";,"))]
    found = tuple(BrokerURL.parse(piece) for piece in pieces if piece.strip())
    if not found:
        raise ConfigError("no broker URL; write for example amqp://user:password@host:5672/vhost")
    return found


def dev_vhost(urls: str | Sequence[str]) -> str | None:
    """The vhost of a ``dev://`` or ``dev:///vhost`` URL; None when these are ordinary URLs.

    Raises:
        ConfigError: a dev:// URL with a host or anything else than a vhost in it, or beside other URLs.
    """
    texts = [urls] if isinstance(urls, str) else list(urls)
    found = [text.strip() for text in texts if "dev://" in text]
    if not found:
        return None
    if len(texts) > 1 or _SEPARATOR.search(found[0]) or not found[0].startswith("dev://"):
        raise ConfigError("broker URL dev:// can't be combined with others: there is one dev broker, without failover")
    parts = urlsplit(found[0])
    if parts.netloc or parts.query or parts.fragment:
        raise ConfigError(
            f"broker URL {mask(found[0])!r}: write dev:// or dev:///vhost; a broker that runs has an amqp:// URL"
        )
    return _vhost(parts.path)


def mask(text: str) -> str:
    """The URL without its password, whatever else is wrong with it."""
    # greedy up to the last @ before the path: a password may hold an unquoted @ or slash
    return re.sub(r"(://[^:@/]*):.*@", r"\1:***@", text)


def _check_scheme(parts: SplitResult, text: str) -> None:
    if parts.scheme in ("amqp", "amqps"):
        return
    if "://" not in text:
        raise ConfigError(f"{mask(text)!r} is not a broker URL; write for example amqp://user:password@host:5672/vhost")
    kind = _OTHERS.get(parts.scheme.split("+")[0])
    if kind:
        raise ConfigError(
            f"{mask(text)!r} is {kind} URL: amqtask's broker is RabbitMQ, so the URL starts with amqp:// or amqps://"
        )
    if parts.scheme == "dev":
        raise ConfigError(f"{mask(text)!r}: dev:// is for the setting broker_url and the option -b only")
    raise ConfigError(f"{mask(text)!r}: unknown scheme {parts.scheme!r}; a broker URL starts with amqp:// or amqps://")


def _vhost(path: str) -> str:
    # "amqp://host/" and Celery's "amqp://host//" both mean the default vhost
    return unquote(path[1:]) if path not in ("", "/", "//") else "/"


_PARAMETERS = {
    "cacertfile": "ca_file",
    "certfile": "cert_file",
    "keyfile": "key_file",
    "verify": "verify",
    "auth_mechanism": "external",
    "heartbeat": "heartbeat",
    "connection_timeout": "connect_timeout",
}


def _query(parts: SplitResult, text: str) -> dict[str, str | bool | int | float]:
    found: dict[str, str | bool | int | float] = {}
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        name = _PARAMETERS.get(key)
        if name is None:
            raise ConfigError(
                f"broker URL {mask(text)!r}: unknown parameter {key!r}; there are {', '.join(sorted(_PARAMETERS))}"
            )
        try:
            found[name] = _value(name, value)
        except (KeyError, ValueError):
            raise ConfigError(f"broker URL {mask(text)!r}: parameter {key!r} can't be {value!r}") from None
    return found


def _value(name: str, value: str) -> str | bool | int | float:
    if name == "verify":
        return _TRUE[value.lower()]
    if name == "external":
        return {"external": True, "plain": False}[value.lower()]
    if name == "heartbeat":
        return int(value)
    if name == "connect_timeout":
        return int(value) / 1000  # the URI specification has milliseconds
    return value
