"""The setting ``timezone`` as a value. Owns its reading."""

from __future__ import annotations

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

from amqtask.errors import ConfigError


def zone(name: str) -> tzinfo:
    """The time zone of this name.

    Raises:
        ConfigError: it is unknown here.
    """
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise ConfigError(f"setting timezone: {name!r} is no time zone this machine knows: {error}") from None
