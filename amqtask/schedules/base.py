"""What every schedule can say: the next due time, the last one, and how it is written down. Owns that contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from amqtask import clock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

_LOOKS_BACK = tuple(timedelta(seconds=seconds) for seconds in (60, 3600, 86_400, 32 * 86_400, 400 * 86_400))
"""How far :meth:`Schedule.latest` looks back, step by step: most schedules are due more than once in a while."""


class DueState(NamedTuple):
    """What Celery's ``is_due`` answers: whether to run now, and seconds until the next look."""

    is_due: bool
    next: float


class Schedule(ABC):
    """When something is due. Immutable and pure; moments are aware datetimes, answers are in UTC.

    Attributes:
        tz: zone of its wall clock; None takes the setting ``timezone``, see :meth:`within`.
    """

    tz: tzinfo | None = None

    @abstractmethod
    def next(self, after: datetime) -> datetime | None:
        """The first due time after this moment; None when there is none any more."""

    @abstractmethod
    def spec(self) -> Mapping[str, Any]:
        """The schedule as plain values, which :func:`amqtask.schedules.reading.read_schedule` reads back."""

    @abstractmethod
    def within(self, zone: tzinfo) -> Schedule:
        """The same schedule in this zone, unless it has one of its own."""

    @property
    def words(self) -> str:
        """The schedule as people read it."""
        spec = self.spec()
        if "cron" in spec:
            return f"{spec['cron']} {spec.get('tz', '')}".strip()
        if "solar" in spec:
            return f"{spec['solar']} at {spec['lat']}, {spec['lon']}"
        relative = " on full units" if spec.get("relative") else ""
        return f"every {getattr(self, 'human_seconds', spec['every'])}{relative}"

    @property
    def follows(self) -> bool:
        """Whether due times depend on the one before, as those of an interval do."""
        return False

    def latest(self, after: datetime, until: datetime) -> datetime | None:
        """The last due time after one moment, and not after another; None when there is none."""
        if self.follows:
            return self._last_between(after, until)
        for back in _LOOKS_BACK:
            begin = max(after, until - back)
            found = self._last_between(begin, until)
            if found is not None or begin == after:
                return found
        return self._last_between(after, until)

    def _last_between(self, after: datetime, until: datetime) -> datetime | None:
        found, due = None, self.next(after)
        while due is not None and due <= until:
            found, due = due, self.next(due)
        return found

    # -- as Celery's schedulers and programs ask

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """Time until it is due, counted from its last run; negative when it is overdue."""
        due = self.next(_aware(last_run_at))
        return timedelta.max if due is None else due - clock.utcnow()

    def is_due(self, last_run_at: datetime) -> DueState:
        """Whether it is due, and in how many seconds to look again."""
        left = self.remaining_estimate(last_run_at).total_seconds()
        if left > 0:
            return DueState(False, left)
        return DueState(True, max(self.remaining_estimate(clock.utcnow()).total_seconds(), 0.0))


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
