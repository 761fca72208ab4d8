"""Opening a result backend by its URL. Owns which scheme is served by which module."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from amqtask.broker.url import mask
from amqtask.errors import ConfigError
from amqtask.plugins import did_you_mean
from amqtask.results.base import backends

if TYPE_CHECKING:
    from amqtask.config.settings import Settings
    from amqtask.results.base import Backend

ALIASES = {"rediss": "redis", "sentinel": "redis", "socket": "redis", "redis+socket": "redis"}
"""Scheme -> the name of its backend, where they differ; ``db+...`` and ``cache+...`` go by what is before the plus."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://?")


def open_backend(url: str, settings: Settings) -> Backend:
    """The backend for a URL; nothing is connected yet.

    Args:
        url: setting ``result_backend``.
        settings: of the app.

    Raises:
        ConfigError: an unknown scheme, a URL that its backend can't read, or a package that is not installed; never
            shows a password.
    """
    found = _SCHEME.match(url.strip())
    if not found:
        raise ConfigError(f"result_backend {mask(url)!r} is not a URL; write for example redis://localhost:6379/0")
    scheme = found[1].lower()
    known = backends.names()
    for name in (scheme, ALIASES.get(scheme, scheme), scheme.partition("+")[0]):
        if name in known:
            return backends.get(name)(url.strip(), settings)
    raise ConfigError(
        f"result_backend {mask(url)!r}: unknown scheme {scheme!r}; there are {', '.join(known)}"
        f"{did_you_mean(scheme, known)}"
    )
