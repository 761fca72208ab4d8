"""The contract between a worker and its steps, and the order in which steps start. Owns the shape and the registry.

A step is a part of the worker that the rest does without: each module beside this one has one as ``STEP``, users add
theirs with ``app.steps["worker"].add(MyStep)``. Steps live on the I/O thread and share the engine's loop and
connection; they add gates and observers to its custody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from amqtask.errors import ConfigError
from amqtask.plugins import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from amqtask.broker.interface import Connection
    from amqtask.worker.engine import Engine


class Step:
    """One part of a worker; override what matters.

    It is made where the pool is, before the I/O thread exists; everything else is called on the I/O thread, once unless
    said otherwise. What a method raises ends the worker.

    Args:
        worker: the engine: its ``app``, ``options``, ``loop``, ``custody``, ``pool``, ``consumers``, ``outbox``,
            ``shutdown``.

    Attributes:
        requires: classes of steps that start before this one, and stop after it.
    """

    requires: ClassVar[tuple[type[Step], ...]] = ()

    def __init__(self, worker: Engine) -> None:
        self.worker = worker

    @classmethod
    def wanted(cls, worker: Engine) -> bool:  # noqa: ARG003 -- for overriding
        """Whether this worker needs the step at all; asked before it is made."""
        return True

    def start(self) -> None:
        """Before the first connection."""

    def connected(self, connection: Connection) -> None:
        """At each new connection, before its queues are consumed."""

    def disconnected(self) -> None:
        """The connection is gone."""

    def ready(self) -> None:
        """Every queue is consumed, at the start and after each reconnect."""

    def problem(self) -> str:
        """Why this part does not do its work; empty when it does. Asked by the watchdog and health checks."""
        return ""

    def stopping(self) -> None:
        """A shutdown begins: tasks may still run for the grace time."""

    def stop(self, done: Callable[[], None]) -> None:
        """Say goodbye, then call ``done``: nothing runs any more, and the connection still stands.

        The end waits for two seconds at most.
        """
        done()


steps: Registry[type[Step]] = Registry("worker step", "amqtask.worker.steps", "STEP", "amqtask.worker_steps")


def every_step(added: Iterable[Any]) -> Sequence[type[Step]]:
    """Classes of all steps there are: this package's and those of installed ones by name, then those of an app.

    Args:
        added: what the app has been given as steps.

    Raises:
        ConfigError: one is no subclass of :class:`Step`; says which.
    """
    offered: list[tuple[str, Any]] = [(f"{steps.kind} {name!r}", steps.get(name)) for name in steps.names()]
    found = [*offered, *(("app.steps", step) for step in added)]
    for where, step in found:
        if not (isinstance(step, type) and issubclass(step, Step)):
            raise ConfigError(f"{where}: {step!r} is not a subclass of {Step.__module__}.Step")
    return [step for _, step in found]


def in_order(classes: Iterable[type[Step]]) -> Sequence[type[Step]]:
    """The classes so that each comes after those it requires, which are added when they are missing.

    Raises:
        ConfigError: they require each other in a circle.
    """
    ordered: dict[type[Step], None] = {}
    visiting: list[type[Step]] = []

    def visit(step: type[Step]) -> None:
        if step in ordered:
            return
        if step in visiting:
            circle = " -> ".join(one.__name__ for one in (*visiting[visiting.index(step) :], step))
            raise ConfigError(f"worker steps require each other in a circle: {circle}")
        visiting.append(step)
        for required in step.requires:
            visit(required)
        visiting.pop()
        ordered[step] = None

    for step in classes:
        visit(step)
    return list(ordered)
