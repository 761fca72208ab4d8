"""How a monitor is run: what its command says. Owns these values and their checks."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from amqtask.errors import ConfigError

_PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")


@dataclass(frozen=True, slots=True)
class Options:
    """Options of one monitor.

    Attributes:
        basic_auth: (user, password) that are let in; None: everybody who reaches the port.
        read_only: are all actions refused?
        url_prefix: path that everything is under: empty, or ``/x`` without a slash at its end.
        allowed_hosts: names that a request may be for, beside those of the loopback interface; None: any. A page
            elsewhere that has its name resolve to this machine is refused by this.
        history: read and keep the broker's stream of events?
        enable_events: ask workers for task events?
        max_tasks: kept in memory.
        target: what ``-A`` says, for the commands that pages show; empty: unknown.
    """

    basic_auth: tuple[str, str] | None = field(default=None, repr=False)
    read_only: bool = False
    url_prefix: str = ""
    allowed_hosts: tuple[str, ...] | None = ()
    history: bool = True
    enable_events: bool = True
    max_tasks: int = 10_000
    target: str = ""


def read_prefix(text: str) -> str:
    """A path to be under, as :attr:`Options.url_prefix` has it.

    Raises:
        ConfigError: it is none.
    """
    prefix = f"/{text.strip('/')}" if text.strip("/") else ""
    if not _PREFIX.fullmatch(prefix):
        raise ConfigError(f"--url-prefix {text}: write a path of letters and digits, such as /monitor")
    return prefix


def read_auth(text: str) -> tuple[str, str]:
    """User and password of ``user:password``.

    Raises:
        ConfigError: it is not both; the text is not repeated, for it is a secret.
    """
    user, _, password = text.partition(":")
    if not user or not password:
        raise ConfigError("--basic-auth: write USER:PASSWORD")
    return user, password


def read_host(text: str) -> str:
    """A name of :attr:`Options.allowed_hosts`.

    Raises:
        ConfigError: it is none.
    """
    if "/" in text or not host_name(text):
        raise ConfigError(f"--allowed-host {text}: write the name of a host, such as ops.example.org")
    return text


def host_name(text: str) -> str:
    """The name in ``NAME`` or ``NAME:PORT``, in small letters; empty when there is none."""
    try:
        return urlsplit(f"//{text}").hostname or ""
    except ValueError:
        return ""


def is_loopback(address: str) -> bool:
    """Can only this machine reach what listens there?"""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
