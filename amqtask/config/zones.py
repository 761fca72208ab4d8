"""Time zones by name, and that of the setting ``timezone``. Owns their reading."""

from __future__ import annotations

from datetime import UTC, tzinfo
from functools import lru_cache

from amqtask.errors import ConfigError
from amqtask.plugins import did_you_mean


@lru_cache(maxsize=256)
def zone(name: str) -> tzinfo:
    """The time zone of this name.

    Raises:
        ConfigError: this machine does not know it; names the nearest.
    """
    if name.upper() == "UTC":
        return UTC
    from zoneinfo import ZoneInfo, available_timezones  # noqa: PLC0415 -- with sysconfig, and most apps live in UTC

    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        hint = did_you_mean(name, available_timezones())
        raise ConfigError(f"{name!r} is not a time zone that this machine knows{hint}") from None


def home_zone(name: str) -> tzinfo:
    """The zone that the setting ``timezone`` names.

    Raises:
        ConfigError: as of :func:`zone`; names the setting.
    """
    try:
        return zone(name)
    except ConfigError as error:
        raise ConfigError(f"setting timezone: {error}") from None
