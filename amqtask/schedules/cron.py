"""``crontab(minute=, hour=, ...)``: due by the wall clock of a zone, right when clocks change. Owns that meaning.

cronsim finds the moments; what happens where the clocks jump is decided here. With a list of hours each wall clock time
is due once a day: one that the clocks skip at the first valid minute, one that comes twice the first time only. Without
one (``hour="*"``) every hour that passes counts, the one that comes twice included.
"""

from __future__ import annotations

import copy
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from cronsim import CronSim, CronSimError

from amqtask.errors import ConfigError
from amqtask.plugins import did_you_mean
from amqtask.schedules import cron_fields as fields
from amqtask.schedules.base import Schedule
from amqtask.schedules.zones import at_wall, zone_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amqtask.schedules.cron_fields import Cronspec

_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_SOME_DAY = datetime(2024, 1, 1)  # noqa: DTZ001 -- a wall clock time; leap years come soon after


class crontab(Schedule):  # noqa: N801 -- Celery's name
    """Due when all fields fit: Celery joins days of the month and of the week with *and*.

    Args:
        minute, hour, day_of_week, day_of_month, month_of_year: see :mod:`amqtask.schedules.cron_fields`.
        second: seconds of the minute.
        tz: zone of the wall clock; None takes the setting ``timezone``.
        nowfun, app: Celery's, without effect.

    Raises:
        ConfigError: a field can't be read, or no such date ever comes.
    """

    FIELDS: ClassVar = (
        fields.SECOND, fields.MINUTE, fields.HOUR, fields.DAY_OF_MONTH, fields.MONTH, fields.DAY_OF_WEEK,
    )  # fmt: skip

    def __init__(
        self,
        minute: Cronspec = "*",
        hour: Cronspec = "*",
        day_of_week: Cronspec = "*",
        day_of_month: Cronspec = "*",
        month_of_year: Cronspec = "*",
        *,
        second: Cronspec = "0",
        tz: tzinfo | None = None,
        nowfun: Any = None,
        app: Any = None,
    ) -> None:
        del nowfun, app
        given = (second, minute, hour, day_of_month, month_of_year, day_of_week)
        read = [field.read(value) for field, value in zip(self.FIELDS, given, strict=True)]
        self._texts = tuple(fields.written(field, *value) for field, value in zip(self.FIELDS, read, strict=True))
        self.second, self.minute, self.hour, self.day_of_month, self.month_of_year, self.day_of_week = (
            set(numbers) for numbers, _ in read
        )
        self.tz = tz
        self._by_hour = self._texts[2] != "*"
        try:
            self._finder = CronSim(" ".join(self._texts), _SOME_DAY)
        except CronSimError as error:
            raise ConfigError(f"crontab {self.line}: {_reason(error)}") from None
        self._finder.day_and = True
        if self.next(_SOME_DAY.replace(tzinfo=UTC)) is None:
            raise ConfigError(f"crontab {self.line}: no such date ever comes")

    @classmethod
    def from_string(cls, crontab: str, *, tz: tzinfo | None = None) -> crontab:
        """Read a line: ``30 7 * * 1``, with a field for seconds in front if wanted, or ``@daily``.

        Raises:
            ConfigError: it can't be read.
        """
        if not isinstance(crontab, str):
            raise ConfigError(f"a crontab line is a text such as 30 7 * * mon-fri, not {crontab!r}")
        return cls._of_line(crontab.strip(), tz)

    @classmethod
    @lru_cache(maxsize=2048)  # of ten thousand entries many have the same; to read one anew takes 0.1 ms and 9 kB
    def _of_line(cls, line: str, tz: tzinfo | None) -> crontab:
        if line.startswith("@"):
            if line.lower() not in _NICKNAMES:
                hint = did_you_mean(line.lower(), _NICKNAMES) or f"; there are {', '.join(_NICKNAMES)}"
                raise ConfigError(f"crontab {line!r} is unknown{hint}")
            line = _NICKNAMES[line.lower()]
        parts = line.split()
        second = parts.pop(0) if len(parts) == len(cls.FIELDS) else "0"
        if len(parts) != len(cls.FIELDS) - 1:
            raise ConfigError(
                f"crontab {line!r} has {len(line.split())} fields; it needs minute, hour, day of month, month "
                "and day of week, for example 30 7 * * mon-fri"
            )
        minute, hour, day_of_month, month, day_of_week = parts
        return cls(minute, hour, day_of_week, day_of_month, month, second=second, tz=tz)

    @property
    def line(self) -> str:
        """The line that :meth:`from_string` reads back."""
        return " ".join(self._texts[1:] if self._texts[0] == "0" else self._texts)

    def next(self, after: datetime) -> datetime | None:
        """See :class:`Schedule`."""
        zone = self.tz or UTC
        local = after.astimezone(zone)
        if zone is UTC:
            return self._find(local)
        if not self._by_hour:
            found = self._find(local)
            return None if found is None else found.astimezone(UTC)
        # whatever the clock shows, it has shown or skipped all before
        wall: Any = local.replace(tzinfo=None)
        while (wall := self._find(wall)) is not None:
            due = at_wall(wall, zone)
            if due > after:  # else it is shown for the second time
                return due
        return None

    def _find(self, after: datetime) -> datetime | None:
        """The next moment by cronsim: in an aware time seconds pass, in a naive one the hands of a clock move."""
        finder = copy.copy(self._finder)
        finder.dt = after.replace(microsecond=0)
        return next(finder, None)

    def within(self, zone: tzinfo) -> crontab:
        """See :class:`Schedule`."""
        if self.tz is not None:
            return self
        made = copy.copy(self)
        made.tz = zone
        return made

    def spec(self) -> Mapping[str, Any]:
        """See :class:`Schedule`."""
        return {"cron": self.line} if self.tz is None else {"cron": self.line, "tz": zone_name(self.tz)}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, crontab) and self._texts == other._texts and self.tz == other.tz

    def __hash__(self) -> int:
        return hash((self._texts, self.tz))

    def __repr__(self) -> str:
        return f"<crontab: {self.line}{'' if self.tz is None else f' {zone_name(self.tz)}'}>"


def _reason(error: CronSimError) -> str:
    text = str(error)
    return "no such date ever comes" if text == "Bad day-of-month" else text
