"""Waiting for the ends of tasks, whatever holds their handles: one task's ``get()``, a group's, an iteration.

Owns what ends such a wait before its time: what came of the tasks before them, and what can never come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from amqtask.errors import ResultGone
from amqtask.results.absence import absent_state, explain
from amqtask.results.joining import refuse_inside_task
from amqtask.results.node import Leaf
from amqtask.results.states import EXPIRED, PROPAGATE_STATES, UNKNOWN
from amqtask.results.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator, Mapping

    from amqtask.results.meta import Meta
    from amqtask.results.node import ResultBase
    from amqtask.results.source import Results

L = TypeVar("L", bound=Leaf)

_ANCESTORS = 100
"""How many tasks before those that are waited for are watched too, the nearest ones."""


class Gathering(Generic[L]):
    """Handles of tasks in the order in which they end: to be iterated once, with ``for`` or ``async for``.

    Args:
        leaves: handles of the tasks.
        find: the app's results; called when something is not known yet.
        timeout: seconds; None waits for ever.
        on_message: called with every document of these tasks that comes.
        ancestors: what must end before these tasks are sent, the nearest first: the failure of one, known already or
            not, is raised, for they never will be.
        refuse: refuse to wait inside a task.

    Raises:
        RuntimeError: there is something to wait for, and this is inside a task.
    """

    def __init__(
        self,
        leaves: Iterable[L],
        find: Callable[[], Results],
        timeout: float | None = None,
        *,
        on_message: Callable[[dict[str, Any]], object] | None = None,
        ancestors: Iterable[ResultBase] = (),
        refuse: bool = True,
    ) -> None:
        self._known: list[L] = []
        self._waiting: dict[str, list[L]] = {}
        for leaf in leaves:
            if leaf.known:
                self._known.append(leaf)
            else:
                self._waiting.setdefault(leaf.id, []).append(leaf)
        if self._waiting and refuse:
            refuse_inside_task()
        self._find, self._timeout, self._on_message = find, timeout, on_message
        self._before: dict[str, Leaf] = {}
        self._failed: Leaf | None = None
        if self._waiting:
            self._look_before(ancestors)

    def __iter__(self) -> Iterator[L]:
        yield from self._known
        if not self._waiting:
            return
        results = self._find()
        with self._wait(results) as wait:
            if self._failed is not None:
                found = wait.fetch([*self._waiting, self._failed.id])
                yield from self._take_stored(self._failed, found, results)
            if doubtful := self._doubtful(results):
                _refuse_gone(doubtful, wait.fetch(doubtful), results)
            while self._waiting:
                yield from self._take(wait.next())

    async def __aiter__(self) -> AsyncGenerator[L, None]:
        for leaf in self._known:
            yield leaf
        if not self._waiting:
            return
        results = self._find()
        with self._wait(results) as wait:
            if self._failed is not None:
                found = await wait.afetch([*self._waiting, self._failed.id])
                for leaf in self._take_stored(self._failed, found, results):
                    yield leaf
            if doubtful := self._doubtful(results):
                _refuse_gone(doubtful, await wait.afetch(doubtful), results)
            while self._waiting:
                for leaf in self._take(await wait.anext()):
                    yield leaf

    def _wait(self, results: Results) -> Waiting:
        return Waiting(results, (*self._waiting, *self._before), self._timeout)

    def _look_before(self, nodes: Iterable[ResultBase]) -> None:
        """Find what has to be watched beside the tasks themselves, and whether one of it is known to have failed."""
        for node in nodes:
            if len(self._before) == _ANCESTORS:
                break
            if isinstance(node, Leaf):
                failed = node.known and node.meta.status in PROPAGATE_STATES
                if failed or not node.known:
                    self._before[node.id] = node
                if failed:
                    self._failed = node
                if node.known:  # nothing depends on those before it any more
                    break

    def _take_stored(self, failed: Leaf, documents: Mapping[str, bytes], results: Results) -> Iterator[L]:
        """Those that have ended although one before them is known to have failed; raises its error for the others.

        Unless that one was run again since, as a dead letter may be.
        """
        metas = [results.loads(document) for document in documents.values()]
        again = any(meta.task_id == failed.id and meta.status not in PROPAGATE_STATES for meta in metas)
        yield from self._take(metas)
        if self._waiting and not again:
            failed.maybe_throw()

    def _take(self, metas: list[Meta]) -> list[L]:
        """Those that have ended; what became of them goes before what became of those before them."""
        ended: list[L] = []
        for meta in metas:
            leaves = self._waiting.get(meta.task_id)
            if leaves is None:
                continue
            if self._on_message is not None:
                self._on_message(meta.as_dict())
            for leaf in leaves:
                leaf.settle(meta)
            if meta.final:
                ended += self._waiting.pop(meta.task_id)
        if self._waiting and not ended:
            self._take_before(metas)
        return ended

    def _take_before(self, metas: list[Meta]) -> None:
        for meta in metas:
            leaf = self._before.get(meta.task_id)
            if leaf is not None:
                leaf.settle(meta)
                if meta.status in PROPAGATE_STATES:
                    leaf.maybe_throw()

    def _doubtful(self, results: Results) -> list[str]:
        return [task_id for task_id in self._waiting if absent_state(task_id, results) in (EXPIRED, UNKNOWN)]


def _refuse_gone(task_ids: list[str], stored: Collection[str], results: Results) -> None:
    """Raise ResultGone when one of these has nothing stored, for nothing will come."""
    for task_id in task_ids:
        if task_id not in stored:
            raise ResultGone(explain(task_id, absent_state(task_id, results), results))
