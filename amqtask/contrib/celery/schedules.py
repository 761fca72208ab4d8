"""``celery.schedules``: when something is to run, as values. Owns these values; nothing runs by them yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from amqtask.contrib.celery.absent import SCHEDULER, Unavailable

if TYPE_CHECKING:
    from datetime import datetime

Field = int | str | list[int] | tuple[int, ...] | set[int] | frozenset[int]

_SUN = frozenset(f"{word}_{kind}" for word in ("dawn", "dusk") for kind in ("astronomical", "nautical", "civil")) | {
    "sunrise",
    "sunset",
    "solar_noon",
}


class BaseSchedule:
    """What all schedules have in common."""

    def is_due(self, last_run_at: datetime) -> NoReturn:  # noqa: ARG002 -- Celery's
        """For schedulers.

        Raises:
            Unavailable: always.
        """
        raise Unavailable(f"{self!r}: {SCHEDULER}")

    def remaining_estimate(self, last_run_at: datetime) -> NoReturn:
        """As :meth:`is_due`."""
        self.is_due(last_run_at)


@dataclass(frozen=True)
class schedule(BaseSchedule):  # noqa: N801 -- Celery's name
    """Every so often.

    Attributes:
        run_every: seconds, or a timedelta.
        relative: counted from full units.
    """

    run_every: timedelta | float
    relative: bool = False
    nowfun: Any = None
    app: Any = None

    @property
    def seconds(self) -> float:
        """The pause, in seconds."""
        return self.run_every.total_seconds() if isinstance(self.run_every, timedelta) else float(self.run_every)


@dataclass(frozen=True)
class crontab(BaseSchedule):  # noqa: N801 -- Celery's name
    """As cron has it: numbers, lists of them, or texts such as ``*/15``, ``mon-fri``."""

    minute: Field = "*"
    hour: Field = "*"
    day_of_week: Field = "*"
    day_of_month: Field = "*"
    month_of_year: Field = "*"
    nowfun: Any = None
    app: Any = None


@dataclass(frozen=True)
class solar(BaseSchedule):  # noqa: N801 -- Celery's name
    """By the sun at a place.

    Attributes:
        event: for example ``sunset``.
        lat, lon: degrees.
    """

    event: str
    lat: float
    lon: float
    nowfun: Any = None
    app: Any = None

    def __post_init__(self) -> None:
        if self.event not in _SUN:
            raise ValueError(f"the sun has no event {self.event!r}; there are {', '.join(sorted(_SUN))}")
        if not -90 <= self.lat <= 90 or not -180 <= self.lon <= 180:  # noqa: PLR2004 -- degrees
            raise ValueError(f"no place on earth: latitude {self.lat}, longitude {self.lon}")


def maybe_schedule(value: Any, relative: bool = False, app: Any = None) -> Any:
    """A schedule of a number of seconds or a timedelta; anything else as it is."""
    return schedule(value, relative, app=app) if isinstance(value, int | float | timedelta) else value
