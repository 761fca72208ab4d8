"""Periodic tasks of an app: where they are declared, and what they are once read. Owns these declarations.

They come from the setting ``beat_schedule``, from ``schedule:`` in routing.yaml, and from code; a name has one place.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from amqtask.app.core import AppCore
from amqtask.config.zones import home_zone
from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from amqtask.app.schedules import Schedules
    from amqtask.canvas.plan import Sending
    from amqtask.schedules.entry import Entry
    from amqtask.wire.message import Outgoing

CLEANUP = "celery.backend_cleanup"
"""Task and entry that remove results that have expired, for stores that don't do so by themselves."""


class Periodic(AppCore):
    """``app.periodic`` and ``app.add_periodic_task`` to declare them, ``app.schedules`` to change them at run time."""

    @cached_property
    def _periodic(self) -> dict[str, dict[str, Any]]:
        return {}

    def periodic(
        self,
        every: Any = None,
        *,
        cron: str | None = None,
        schedule: Any = None,
        name: str | None = None,
        **entry: Any,
    ) -> Callable[[Any], Any]:
        """Run a task again and again: a decorator above ``@app.task``.

        Args:
            every: seconds, a timedelta or a text such as ``10m``.
            cron: a cron line, instead.
            schedule: any schedule, or a list of them, instead.
            name: of the entry; that of the task when None.
            entry: what else an entry of ``beat_schedule`` may say: ``args``, ``kwargs``, ``tz``, ``catchup``, ...

        Raises:
            ConfigError: none or several of the three, or the name is taken.
        """
        given = [one for one in (every, cron, schedule) if one is not None]
        if len(given) != 1:
            raise ConfigError("app.periodic() needs one of every=, cron= and schedule=")

        def add(task: Any) -> Any:
            if not isinstance(getattr(task, "name", None), str):
                raise TypeError("app.periodic() belongs above @app.task, so that it gets the task")
            self._add_periodic(name or task.name, {"task": task.name, "schedule": given[0], **entry}, named=True)
            return task

        return add

    def add_periodic_task(
        self,
        schedule: Any,
        sig: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        **options: Any,
    ) -> str:
        """Run a signature again and again.

        Args:
            schedule: seconds, a timedelta, ``crontab(...)``, ``solar(...)``, a cron line.
            sig: a signature, or a task.
            args: of the call; those of the signature when empty.
            kwargs: of the call; as ``args``.
            name: of the entry; the signature written out when None.
            options: of the call; and ``catchup``, ``deadline``, ``overlap``, ``overlap_timeout``, ``jitter``, ``tz``,
                ``relative``.

        Returns:
            The name of the entry.

        Raises:
            ConfigError: the name is taken, or ``sig`` is neither.
        """
        entry = periodic_entry(schedule, sig, args, kwargs or {}, options)
        return self._add_periodic(name or repr(sig), entry, named=name is not None)

    def _add_periodic(self, name: str, entry: dict[str, Any], *, named: bool) -> str:
        if named and name in self._periodic:
            raise ConfigError(f"periodic task {name!r} is declared twice; give one of them another name")
        taken, number = name, 2
        while name in self._periodic:
            name, number = f"{taken} ({number})", number + 1
        self._periodic[name] = entry
        return name

    @property
    def has_periodic_tasks(self) -> bool:
        """Whether any are declared, as far as modules are imported by now, or kept in a table; none is read."""
        return bool(
            self.settings.beat_schedule or self.settings.beat_schedule_store or self.topology.schedule or self._periodic
        )

    def periodic_tasks(self) -> dict[str, Entry]:
        """Every declared entry, read and checked.

        Raises:
            ConfigError: entries are wrong, or a name is given in two places; a line for each.
        """
        found, wrong = self.read_periodic()
        if wrong:
            raise ConfigError("\n".join(wrong))
        return found

    def read_periodic(self) -> tuple[dict[str, Entry], list[str]]:
        """The declared entries that can be read, and what is wrong with the others."""
        from amqtask.schedules.entry import read_entry  # noqa: PLC0415 -- for the scheduler

        home = home_zone(self.settings.timezone)
        of_settings: Mapping[str, Any] = self.settings.beat_schedule or {}
        of_file = self.topology.schedule
        found: dict[str, Entry] = {}
        wrong: list[str] = []
        for place, declared in (("beat_schedule", of_settings), ("routing.yaml", of_file), ("code", self._periodic)):
            for name, given in declared.items():
                if name in found:
                    wrong.append(f"periodic task {name!r} is declared twice, again in {place}")
                    continue
                where = str(given.get("where", "")) if place == "routing.yaml" else ""
                plain = {key: value for key, value in given.items() if key != "where"} if where else given
                try:
                    found[name] = read_entry(name, plain, home, where)
                except ConfigError as error:
                    wrong.append(str(error))
        if CLEANUP not in found and self._cleans_up():
            given = {"task": CLEANUP, "schedule": "0 4 * * *", "options": {"expires": 12 * 3600}}
            found[CLEANUP] = read_entry(CLEANUP, given, home)
        return found, wrong

    def _cleans_up(self) -> bool:
        backend = self._wiring.results_backend
        return bool(getattr(backend, "needs_clean_up", False) and self.settings.result_expires)

    def message_of(self, sending: Sending, route: str | None = None) -> Outgoing:
        """The message of one call, which is not sent.

        Args:
            sending: the call.
            route: name of the task whose routes hold; that of the call when None.

        Raises:
            EncodeError, ConfigError, TypeError: as for ``apply_async``.
        """
        return self._wiring.messages.build_sending(
            sending, self.tasks.options_of(route or sending.route_name), route=route
        )

    @cached_property
    def schedules(self) -> Schedules:
        """The schedule at run time: ``app.schedules.add(...)``, ``pause``, ``run_now``, ``list``."""
        from amqtask.app.schedules import Schedules  # noqa: PLC0415 -- for those who change it

        return Schedules(self, self.periodic_tasks)


def periodic_entry(
    schedule: Any, sig: Any, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    """What ``beat_schedule`` would say of ``add_periodic_task`` with these arguments."""
    from amqtask.schedules.entry import CALL_KEYS, KEYS, call_of  # noqa: PLC0415 -- for apps with periodic tasks

    if isinstance(sig, str):
        raise ConfigError(f"add_periodic_task() takes a signature or a task, not {sig!r}; for example task.s(1)")
    call = call_of(sig)
    merged = {**call.get("options", {}), **options}
    merged.pop("task_id", None)
    return {
        **{key: merged.pop(key) for key in KEYS if key in merged and key not in CALL_KEYS},
        "task": call["task"],
        "schedule": schedule,
        "args": tuple(args) or tuple(call.get("args") or ()),
        "kwargs": dict(kwargs or call.get("kwargs") or {}),
        "options": merged,
    }
