"""Every so often: ``schedule(30)``, ``schedule(timedelta(hours=1), relative=True)``. Owns that arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

from amqtask.durations import format_duration, parse_duration
from amqtask.errors import ConfigError
from amqtask.schedules.base import Schedule
from amqtask.schedules.zones import at_wall, zone_name

if TYPE_CHECKING:
    from collections.abc import Mapping

SHORTEST = timedelta(milliseconds=10)
_DAY, _HOUR, _MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


@dataclass(frozen=True)
class schedule(Schedule):  # noqa: N801 -- Celery's name
    """Due every so often, counted from the due time before, so that it does not drift.

    Args:
        run_every: seconds, a timedelta, or a text such as ``90s``.
        relative: on full units of the wall clock: an interval of hours on the hour, one of days at midnight.
        nowfun, app: Celery's, without effect.
        tz: zone of the full units.

    Raises:
        ConfigError: less than 10 ms, or no duration.
    """

    run_every: timedelta
    relative: bool = False
    nowfun: Any = None
    app: Any = None
    tz: tzinfo | None = None

    def __init__(
        self,
        run_every: float | str | timedelta,
        relative: bool = False,
        nowfun: Any = None,
        app: Any = None,
        tz: tzinfo | None = None,
    ) -> None:
        every = parse_duration(run_every)
        if every < SHORTEST:
            raise ConfigError(f"a schedule of every {format_duration(every)}: the shortest interval is 10 ms")
        del nowfun, app
        for name, value in (("run_every", every), ("relative", relative), ("nowfun", None), ("app", None), ("tz", tz)):
            object.__setattr__(self, name, value)

    @property
    def seconds(self) -> float:
        """The interval in seconds."""
        return self.run_every.total_seconds()

    @property
    def human_seconds(self) -> str:
        """The interval for people."""
        return format_duration(self.run_every)

    @property
    def follows(self) -> bool:
        """See :class:`Schedule`."""
        return True

    def next(self, after: datetime) -> datetime | None:
        """See :class:`Schedule`."""
        try:
            return self._next(after)
        except OverflowError:  # after the year 9999
            return None

    def _next(self, after: datetime) -> datetime:
        if not self.relative:
            return after.astimezone(UTC) + self.run_every
        zone = self.tz or UTC
        every = self.run_every
        if every < _DAY:
            target = (after.astimezone(UTC) + every).astimezone(zone)
        else:
            target = after.astimezone(zone).replace(tzinfo=None) + every  # days of the calendar, of 23 to 25 hours
        due = at_wall(self._floor(target.replace(tzinfo=None)), zone)
        return due if due > after else after.astimezone(UTC) + every

    def latest(self, after: datetime, until: datetime) -> datetime | None:
        """See :class:`Schedule`."""
        if self.relative:
            return super().latest(after, until)
        steps = (until - after) // self.run_every
        return after.astimezone(UTC) + steps * self.run_every if steps > 0 else None

    def within(self, zone: tzinfo) -> schedule:
        """See :class:`Schedule`."""
        if self.tz is not None or not self.relative:
            return self
        return schedule(self.run_every, self.relative, tz=zone)

    def spec(self) -> Mapping[str, Any]:
        """See :class:`Schedule`."""
        found: dict[str, Any] = {"every": self.seconds}
        if self.relative:
            found["relative"] = True
        if self.tz is not None:
            found["tz"] = zone_name(self.tz)
        return found

    def _floor(self, moment: datetime) -> datetime:
        if self.run_every >= _DAY:
            return moment.replace(hour=0, minute=0, second=0, microsecond=0)
        if self.run_every >= _HOUR:
            return moment.replace(minute=0, second=0, microsecond=0)
        if self.run_every >= _MINUTE:
            return moment.replace(second=0, microsecond=0)
        return moment

    def __repr__(self) -> str:
        return f"<freq: {format_duration(self.run_every)}{', relative' if self.relative else ''}>"
