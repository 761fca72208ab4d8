"""How often tasks start. Owns which task has which rate in this worker: by its option, the settings or at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.errors import ConfigError
from amqtask.tasks.limits import SCOPES, UNLIMITED, parse_rate
from amqtask.worker.limits.layout import rate_layout
from amqtask.worker.limits.pace import Pace
from amqtask.worker.limits.shared_rate import SharedRate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amqtask.config.settings import Settings
    from amqtask.tasks.limits import Rate, Scope
    from amqtask.tasks.task import Task
    from amqtask.worker.limits.station import Station
    from amqtask.worker.limits.wiring import LimitHost


class RateLimits:
    """Lives on the I/O thread.

    Args:
        tasks: of the app.
        settings: ``task_default_rate_limit``, ``worker_disable_rate_limits``.
        host: the worker.

    Raises:
        ConfigError: ``task_default_rate_limit`` is no rate.
    """

    def __init__(self, tasks: Mapping[str, Task[..., Any]], settings: Settings, host: LimitHost) -> None:
        self._host = host
        self._disabled = settings.worker_disable_rate_limits
        try:
            default = parse_rate(settings.task_default_rate_limit or 0)
        except ConfigError as error:
            raise ConfigError(f"setting task_default_rate_limit: {error}") from None
        self._rates: dict[str, tuple[Rate, Scope]] = {}
        self.stations: dict[str, Station] = {}
        """Name of a task -> what its deliveries have to pass; of those that have a limit."""
        for name, task in tasks.items():
            own = task.options.rate_limit
            self._put(name, default if own is None else own, task.options.scope)

    def set(self, task: str, rate: str | float | None, scope: str | None = None) -> None:
        """Change the rate of a task for what starts from now on.

        Args:
            task: name.
            rate: as in the task's option; 0 or None is no limit.
            scope: None leaves it as it is.

        Raises:
            ConfigError: no rate, or no scope.
        """
        parsed = parse_rate(rate or 0)
        if scope is not None and scope not in SCOPES:
            raise ConfigError(f"scope {scope!r}: it must be one of {', '.join(SCOPES)}")
        former = self.stations.pop(task, None)
        kept = self._rates.pop(task, (UNLIMITED, "worker"))[1]
        self._put(task, parsed, "global" if (scope or kept) == "global" else "worker")
        if former is not None:
            for delivery in former.clear():
                self._host.readmit(delivery)
            former.close()

    def describe(self, task: str) -> dict[str, object]:
        """What holds for a task; empty when nothing does."""
        station = self.stations.get(task)
        return {} if station is None else station.describe()

    def text(self, task: str) -> str | None:
        """The rate of a task as it is written; None when there is no limit."""
        rate = self._rates.get(task, (UNLIMITED,))[0]
        return str(rate) if rate else None

    def _put(self, task: str, rate: Rate, scope: Scope) -> None:
        self._rates[task] = rate, scope
        if self._disabled or not rate:
            return
        host = self._host
        if scope == "worker":
            self.stations[task] = Pace(host.loop, rate, host.readmit)
        else:
            shared = SharedRate(host.loop, rate, host.readmit, host.slots)
            host.provide(shared, rate_layout(task, rate))
            self.stations[task] = shared
