"""Whatever people write for a schedule, read into one. Owns the accepted forms.

Numbers of seconds, timedeltas, texts (``90s``, ``30 7 * * 1``, ``@daily``), mappings as routing.yaml and
:meth:`~amqtask.schedules.base.Schedule.spec` have them, schedules of this package and of Celery.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from amqtask.config.zones import zone
from amqtask.errors import ConfigError
from amqtask.plugins import did_you_mean
from amqtask.schedules.base import Schedule
from amqtask.schedules.cron import crontab
from amqtask.schedules.interval import schedule
from amqtask.schedules.solar import solar

_KEYS = ("every", "relative", "cron", "solar", "lat", "lon", "tz")


def read_schedule(given: Any) -> Schedule:
    """The schedule that is meant.

    Raises:
        ConfigError: it can't be read.
    """
    if isinstance(given, Schedule):
        return given
    if isinstance(given, Mapping):
        return _of_mapping(given)
    if isinstance(given, str):
        return crontab.from_string(given) if given.startswith("@") or len(given.split()) > 1 else schedule(given)
    if isinstance(given, int | float | timedelta) and not isinstance(given, bool):
        return schedule(given)
    return _of_celery(given)


def maybe_schedule(value: Any, relative: bool = False, app: Any = None) -> Any:
    """Celery's: a schedule of a number of seconds or a timedelta; anything else as it is."""
    return schedule(value, relative, app=app) if isinstance(value, int | float | timedelta) else value


def _of_mapping(given: Mapping[str, Any]) -> Schedule:
    for name in given:
        if name not in _KEYS:
            raise ConfigError(f"a schedule has no key {name!r}{did_you_mean(str(name), _KEYS)}")
    kinds = [name for name in ("every", "cron", "solar") if given.get(name) is not None]
    if len(kinds) != 1:
        raise ConfigError("a schedule needs one of 'every', 'cron' and 'solar'")
    tz = None if given.get("tz") is None else zone(str(given["tz"]))
    if kinds == ["every"]:
        return schedule(given["every"], bool(given.get("relative")), tz=tz)
    if kinds == ["cron"]:
        return crontab.from_string(given["cron"], tz=tz)
    if given.get("lat") is None or given.get("lon") is None:
        raise ConfigError("a schedule by the sun needs 'lat' and 'lon', in degrees")
    return solar(given["solar"], given["lat"], given["lon"])


def _of_celery(given: Any) -> Schedule:
    """Schedules of Celery itself, in settings that are shared with it; by their attributes, for it may not be here."""
    if hasattr(given, "_orig_minute"):
        names = ("minute", "hour", "day_of_week", "day_of_month", "month_of_year")
        return crontab(*(getattr(given, f"_orig_{name}") for name in names))
    if hasattr(given, "event") and hasattr(given, "lat") and hasattr(given, "lon"):
        return solar(given.event, given.lat, given.lon)
    if isinstance(every := getattr(given, "run_every", None), timedelta):
        return schedule(every, bool(getattr(given, "relative", False)))
    raise ConfigError(f"{given!r} is not a schedule; write seconds, timedelta, crontab(...), solar(...) or a cron line")
