"""The one place that imports redis-py: from a URL to clients and connections, and from its errors to ours.

Owns the URL: ``redis://``, ``rediss://`` (TLS), ``redis+socket://`` and ``sentinel://a;sentinel://b``, with Celery's
parameters. Operations take turns by a semaphore, so a process never has more connections than it may, and waits
instead of being refused.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from amqtask.broker.url import mask
from amqtask.errors import BackendError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from amqtask.config.settings import Settings

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
    from redis.sentinel import Sentinel
except ImportError:
    raise ConfigError('the Redis result backend needs redis-py: pip install "amqtask[redis]"') from None

CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 30.0
"""How long a connection, and an answer, may take; ``socket_connect_timeout`` and ``socket_timeout`` in the URL win."""

TURN_SECONDS = 60.0
"""How long a thread waits for a connection that others use."""

_CERT_REQS = {"CERT_REQUIRED": "required", "CERT_OPTIONAL": "optional", "CERT_NONE": "none"}
SENTINEL_PORT = 26379

ERRORS = (redis.RedisError, OSError)
Client = redis.Redis


class Link:
    """Clients of one process.

    Args:
        connect: how a client is made; ``connect(retries)``.
        where: the URL without passwords.
        most: connections that may be in use at a time.
    """

    def __init__(self, connect: Callable[[int], Client], where: str, most: int) -> None:
        self._connect, self._where = connect, where
        self._client = connect(1)
        self._news: Client | None = None
        self._turns = threading.BoundedSemaphore(most)
        self._closed = False

    @contextlib.contextmanager
    def use(self, doing: str) -> Iterator[Client]:
        """A client, when it is one's turn.

        Raises:
            BackendError: for whatever goes wrong with Redis inside.
        """
        if not self._turns.acquire(timeout=TURN_SECONDS):
            raise BackendError(f"{doing}: all connections to {self._where} are busy")
        try:
            yield self._client
        except (AttributeError, ValueError) as error:
            if not self._closed:
                raise
            raise self.failed(doing, error) from error  # another thread has taken the socket away meanwhile
        except ERRORS as error:
            raise self.failed(doing, error) from error
        finally:
            self._turns.release()

    def failed(self, doing: str, error: BaseException) -> BackendError:
        """The error to raise for one of redis-py's."""
        return BackendError(f"{doing}: result backend {self._where}: {str(error) or type(error).__name__}")

    def listening_connection(self) -> Any:
        """A connection outside the bound, for news: one per process. It never connects again by itself."""
        self._news = self._connect(0)  # a sentinel's connection refers to its pool weakly
        return self._news.connection_pool.make_connection()

    def close(self) -> None:
        """Close every connection."""
        self._closed = True
        with contextlib.suppress(*ERRORS):
            self._client.connection_pool.disconnect()


def connector(url: str, settings: Settings) -> Callable[[int], Client]:
    """What makes clients for a URL, called with how often an operation is tried again at once.

    Raises:
        ConfigError: the URL or the transport options are not understood.
    """
    options = settings.result_backend_transport_options or {}
    try:
        if url.startswith("sentinel"):
            return _by_sentinel(url, options)
        plain = _plain(url)
        kwargs = _kwargs
        if plain.startswith("unix:"):
            kwargs = _socket_kwargs
        redis.ConnectionPool.from_url(plain, **kwargs(0)).make_connection()  # errors now, not when it is used
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"result_backend {mask(url)!r}: {error}") from None
    return lambda retries: redis.Redis(connection_pool=redis.ConnectionPool.from_url(plain, **kwargs(retries)))


def _kwargs(retries: int) -> dict[str, Any]:
    return {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": ANSWER_SECONDS,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), retries),
        "protocol": 2,  # news and answers never share a connection, and every server speaks it
    }


def _socket_kwargs(retries: int) -> dict[str, Any]:
    return {name: value for name, value in _kwargs(retries).items() if name != "socket_keepalive"}


def _plain(url: str) -> str:
    """The URL as redis-py has it."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    scheme = parts.scheme
    if "ssl_cert_reqs" in query:
        query["ssl_cert_reqs"] = _CERT_REQS.get(query["ssl_cert_reqs"], query["ssl_cert_reqs"])
    if scheme == "redis" and any(name.startswith("ssl_") for name in query):
        raise ValueError("parameters ssl_... need rediss://")
    if scheme in ("socket", "redis+socket"):
        query = {"db" if name == "virtual_host" else name: value for name, value in query.items()}
        account = parts.netloc.rpartition("@")[0]
        return f"unix://{account and f'{account}@'}{parts.path}?{urlencode(query)}"
    if parts.path.strip("/") and not parts.path.strip("/").isdigit():
        raise ValueError("after the slash stands the number of the database, as in redis://localhost:6379/0")
    return urlunsplit((scheme, parts.netloc, parts.path, urlencode(query, quote_via=quote), ""))


def _by_sentinel(url: str, options: Any) -> Callable[[int], Client]:
    name = options.get("master_name")
    if not name:
        raise ValueError('result_backend_transport_options={"master_name": ...} says which Redis the sentinels watch')
    parts = [urlsplit(one.strip()) for one in url.split(";") if one.strip()]
    hosts = [(one.hostname or "localhost", one.port or SENTINEL_PORT) for one in parts]
    first = next((one for one in parts if one.password), parts[0])
    account = {
        "db": int(first.path.strip("/") or 0),
        "username": unquote(first.username) if first.username else None,
        "password": unquote(first.password) if first.password else None,
    }
    more = {key: _CERT_REQS.get(value, value) for key, value in parse_qsl(first.query)}

    def connect(retries: int) -> Client:
        kwargs = _kwargs(retries) | account | more
        asking = _kwargs(0) | {"socket_timeout": CONNECT_SECONDS}  # the next sentinel knows as well
        found = Sentinel(  # type: ignore[no-untyped-call]
            hosts,
            min_other_sentinels=options.get("min_other_sentinels", 0),
            sentinel_kwargs=asking | dict(options.get("sentinel_kwargs", {})),
            **kwargs,
        )
        client: Client = found.master_for(name)  # type: ignore[no-untyped-call]
        return client

    return connect
