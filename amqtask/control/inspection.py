"""``app.control.inspect()``: questions to workers, with Celery's names. Owns the methods and the merging of answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    class Broadcast(Protocol):
        """What is asked of :class:`~amqtask.control.client.Control`."""

        def broadcast(self, command: str, arguments: Mapping[str, Any] | None, **options: Any) -> Any: ...  # noqa: D102


class Inspect:
    """Asks workers. Each method returns ``{node: value}``, or None when nobody has answered in time.

    Args:
        control: sends the questions.
        destination: nodes that are asked; None: all. The name of a single one is fine too.
        timeout: seconds to wait, unless all that were named have answered.
        callback: called with each answer as it comes.
        connection: Celery's; without effect.
        limit: answers after which to return.
        pattern: of the names of nodes.
        matcher: what the pattern is: ``glob`` or ``pcre``.
    """

    def __init__(
        self,
        control: Broadcast,
        destination: Sequence[str] | str | None = None,
        timeout: float = 1.0,
        callback: Callable[[dict[str, Any]], object] | None = None,
        connection: object = None,  # noqa: ARG002 -- Celery's
        limit: int | None = None,
        pattern: str | None = None,
        matcher: str | None = None,
    ) -> None:
        self._control = control
        self._options = {
            "destination": destination,
            "timeout": timeout,
            "callback": callback,
            "limit": limit,
            "pattern": pattern,
            "matcher": matcher,
        }

    def ask(self, command: str, **arguments: Any) -> dict[str, Any] | None:
        """Any command, those of one's own included."""
        replies = self._control.broadcast(command, arguments, reply=True, **self._options)
        merged: dict[str, Any] = {}
        for reply in replies or ():
            merged.update(reply)
        return merged or None

    def ping(self, destination: Sequence[str] | None = None) -> dict[str, Any] | None:
        """Who is there."""
        if destination is not None:
            self._options["destination"] = destination
        return self.ask("ping")

    def active(self, safe: bool | None = None) -> dict[str, Any] | None:
        """Tasks that run; arguments as text with ``safe``."""
        return self.ask("active", safe=safe)

    def reserved(self) -> dict[str, Any] | None:
        """Tasks that a worker holds and has not started."""
        return self.ask("reserved")

    def scheduled(self, safe: bool | None = None) -> dict[str, Any] | None:  # noqa: ARG002 -- Celery's
        """Tasks that a worker holds for later: none, the broker holds them."""
        return self.ask("scheduled")

    def revoked(self) -> dict[str, Any] | None:
        """Ids of revoked tasks."""
        return self.ask("revoked")

    def registered(self, *taskinfoitems: str) -> dict[str, Any] | None:
        """Names of tasks, with these of their options where they are set."""
        return self.ask("registered", taskinfoitems=list(taskinfoitems))

    registered_tasks = registered

    def query_task(self, *ids: str | Iterable[str]) -> dict[str, Any] | None:
        """Tasks by id: ``{node: {id: [state, task]}}``."""
        named = [ids[0]] if len(ids) == 1 and isinstance(ids[0], str) else ids
        flat = named[0] if len(named) == 1 and not isinstance(named[0], str) else named
        return self.ask("query_task", ids=list(flat))

    def stats(self) -> dict[str, Any] | None:
        """Numbers of the worker, its pool and its broker."""
        return self.ask("stats")

    def active_queues(self) -> dict[str, Any] | None:
        """Queues that are consumed."""
        return self.ask("active_queues")

    def conf(self, with_defaults: bool = False) -> dict[str, Any] | None:
        """Settings, passwords masked."""
        return self.ask("conf", with_defaults=with_defaults)

    def report(self) -> dict[str, Any] | None:
        """What belongs into a bug report."""
        return self.ask("report")

    def clock(self) -> dict[str, Any] | None:
        """The logical clock."""
        return self.ask("clock")

    def hello(self, from_node: str, revoked: Iterable[str] = ()) -> dict[str, Any] | None:
        """What workers of Celery ask each other when they start; exchanges ids of revoked tasks."""
        return self.ask("hello", from_node=from_node, revoked=list(revoked))

    def memsample(self) -> dict[str, Any] | None:
        """Resident memory."""
        return self.ask("memsample")

    def memdump(self, samples: int = 10) -> dict[str, Any] | None:
        """Samples of it."""
        return self.ask("memdump", samples=samples)

    def objgraph(self, type: str = "Request", n: int = 200, max_depth: int = 10) -> dict[str, Any] | None:  # noqa: A002
        """How many objects of a type there are."""
        return self.ask("objgraph", num=n, max_depth=max_depth, type=type)

    # -- amqtask's own

    def stack(self) -> dict[str, Any] | None:
        """What each thread of the worker is doing."""
        return self.ask("stack")

    def children(self) -> dict[str, Any] | None:
        """Processes of the pool."""
        return self.ask("children")

    def limits(self) -> dict[str, Any] | None:
        """Limits of tasks in force."""
        return self.ask("limits")

    def prefetch(self) -> dict[str, Any] | None:
        """Messages held per queue."""
        return self.ask("prefetch")

    def connections(self) -> dict[str, Any] | None:
        """Connections to the broker."""
        return self.ask("connections")
