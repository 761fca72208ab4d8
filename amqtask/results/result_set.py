"""ResultSet: several results as one. Owns how they are waited for together and what is known of all of them."""

from __future__ import annotations

from contextlib import aclosing
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, cast

from amqtask.results.absence import absent_state
from amqtask.results.current import current_results
from amqtask.results.eager import EagerResult
from amqtask.results.future import AsyncResult, R_co, Results
from amqtask.results.gathering import Gathering
from amqtask.results.meta import Meta
from amqtask.results.node import ResultBase, Tuple, forgotten
from amqtask.results.source import ResultsOwner, revoke
from amqtask.results.states import FAILURE, SUCCESS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Sequence

_BATCH = 500
"""Ids that are asked for at once."""


class ResultSet(ResultBase, Generic[R_co]):
    """Some results, waited for together: one watch for all of them, nested ones included. Not thread-safe.

    Args:
        results: handles of tasks, or of groups.
        access: results of the app; without them, of ``app``, of a member's app or of the app made last.
        app: whose tasks they are.

    Attributes:
        results: the members, in the order of their results; may be changed.
    """

    __slots__ = ("_app_results", "results")

    id = ""
    parent: ResultBase | None = None

    def __init__(
        self,
        results: Iterable[ResultBase],
        *,
        access: Results | None = None,
        app: ResultsOwner | None = None,
    ) -> None:
        self.results = list(results)
        self._app_results = app.results if access is None and app is not None else access

    # ---- waiting

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float | None = None,  # noqa: ARG002 -- Celery's; nothing is polled for
        callback: Callable[[str, Any], object] | None = None,
        no_ack: bool = True,  # noqa: ARG002 -- Celery's
        on_message: Callable[[dict[str, Any]], object] | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], object] | None = None,  # noqa: ARG002 -- Celery's
    ) -> list[Any]:
        """Wait until all have ended.

        Args:
            timeout: seconds for all of them; None waits for ever.
            propagate: raise the exception of the first that fails, at once; else it stands in its place in the list.
            interval: taken because Celery takes it, as ``no_ack`` and ``on_interval``.
            no_ack: see ``interval``.
            on_interval: see ``interval``.
            callback: called with id and value of each task as it ends; then nothing is returned.
            on_message: called with every document that comes.
            disable_sync_subtasks: refuse to wait inside a task.

        Returns:
            What the members returned, in their order; a list for a member that is a group. Empty with ``callback``.

        Raises:
            ResultTimeout, ResultGone, RemoteError, RuntimeError: as :meth:`AsyncResult.get`.
            Exception: what a task raised.
        """
        for leaf in self._gathering(timeout, propagate, on_message, disable_sync_subtasks):
            leaf.maybe_throw(propagate, callback)
        return [] if callback is not None else self._values(propagate)

    def join(self, timeout: float | None = None, propagate: bool = True, **options: Any) -> list[Any]:
        """:meth:`get`, by its older name."""
        return self.get(timeout, propagate, **options)

    def join_native(self, timeout: float | None = None, propagate: bool = True, **options: Any) -> list[Any]:
        """:meth:`get`, by Celery's name for not polling."""
        return self.get(timeout, propagate, **options)

    async def aget(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 -- as get()
        propagate: bool = True,
        on_message: Callable[[dict[str, Any]], object] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> list[Any]:
        """Like :meth:`get`, without blocking the running loop; ``await group`` is the same without arguments."""
        gathering = aiter(self._gathering(timeout, propagate, on_message, disable_sync_subtasks))
        async with aclosing(gathering) as leaves:  # what one raises must not leave the watch open
            async for leaf in leaves:
                leaf.maybe_throw(propagate)
        return self._values(propagate)

    def __await__(self) -> Generator[Any, None, list[Any]]:
        return self.aget().__await__()

    def iterate(self, timeout: float | None = None, propagate: bool = True) -> Iterator[Any]:
        """What the tasks returned, in the order in which they end.

        Args:
            timeout: seconds for all of them.
            propagate: raise the exception of a task that failed; else it is yielded.
        """
        for leaf in self._gathering(timeout, propagate):
            yield leaf.maybe_throw(propagate)

    def iter_native(
        self,
        timeout: float | None = None,
        interval: float | None = None,  # noqa: ARG002 -- Celery's
        no_ack: bool = True,  # noqa: ARG002 -- Celery's
        on_message: Callable[[dict[str, Any]], object] | None = None,
        **_options: Any,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Ids and documents of the tasks, in the order in which they end; nothing is raised for one that failed.

        Options are those of :meth:`get`.
        """
        for leaf in self._gathering(timeout, False, on_message):
            yield leaf.id, leaf.meta.as_dict()

    def as_completed(self, timeout: float | None = None) -> Iterator[AsyncResult[Any]]:
        """Handles of the tasks, in the order in which they end; nothing is raised for one that failed.

        Args:
            timeout: seconds for all of them.
        """
        return iter(self._gathering(timeout))

    def __aiter__(self) -> AsyncIterator[AsyncResult[Any]]:
        """Handles of the tasks, in the order in which they end: ``async for result in group``."""
        return aiter(self._gathering(None))

    # ---- what is known now

    def ready(self) -> bool:
        """Whether all have ended, well or not."""
        return all(leaf.known or meta.final for leaf, meta in self._looked_up())

    def waiting(self) -> bool:
        """Whether one has not ended."""
        return not self.ready()

    def successful(self) -> bool:
        """Whether all have returned."""
        return all(meta.status == SUCCESS for _, meta in self._looked_up())

    def failed(self) -> bool:
        """Whether one has raised."""
        return any(meta.status == FAILURE for _, meta in self._looked_up())

    def completed_count(self) -> int:
        """How many tasks have returned."""
        return sum(meta.status == SUCCESS for _, meta in self._looked_up())

    def maybe_throw(self, callback: Callable[[str, Any], object] | None = None, propagate: bool = True) -> None:
        """Raise the exception of one that is known to have failed."""
        for leaf, meta in self._looked_up():
            leaf.told(meta, propagate, callback)

    maybe_reraise = maybe_throw

    def then(
        self,
        callback: Callable[[Any], object],
        on_error: Callable[[Exception], object] | None = None,
        weak: bool = False,  # noqa: ARG002 -- Celery's
    ) -> None:
        """Call something with this handle once the end of every task is known here; see :meth:`AsyncResult.then`."""
        leaves = list(self.leaves())
        told = count(1)  # one that is there twice is told of twice

        def ended(_leaf: AsyncResult[Any]) -> None:
            if next(told) == len(leaves):
                callback(self)

        for leaf in leaves:
            leaf.then(ended, on_error)
        if not leaves:
            callback(self)

    # ---- members

    @property
    def children(self) -> Sequence[ResultBase]:
        """The members."""
        return self.results

    def leaves(self) -> Iterator[AsyncResult[Any]]:
        """The tasks among the members, and those of members that are groups."""
        for member in self.results:
            yield from cast("Iterator[AsyncResult[Any]]", member.leaves())

    def add(self, result: ResultBase) -> None:
        """Add a member that is not one yet."""
        if result not in self.results:
            self.results.append(result)

    def update(self, results: Iterable[ResultBase]) -> None:
        """Add several."""
        for result in results:
            self.add(result)

    def remove(self, result: ResultBase | str) -> None:
        """Take a member away, by its handle or id.

        Raises:
            KeyError: it is none.
        """
        found = next((member for member in self.results if result in (member, member.id)), None)
        if found is None:
            raise KeyError(result)
        self.results.remove(found)

    def discard(self, result: ResultBase | str) -> None:
        """Take a member away, if it is one."""
        self.results[:] = [member for member in self.results if result not in (member, member.id)]

    def clear(self) -> None:
        """Take all members away."""
        self.results.clear()

    def forget(self) -> None:
        """Remove what is stored of the tasks."""
        if ids := forgotten(self):
            self._bound().backend.forget(ids)

    def revoke(
        self,
        connection: object = None,  # noqa: ARG002 -- Celery's
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Have none of the tasks run; see :meth:`amqtask.results.future.AsyncResult.revoke`."""
        sent = []
        for leaf in self.leaves():
            if isinstance(leaf, EagerResult):
                leaf.revoke()
            else:
                sent.append(leaf.id)
        if sent:
            revoke(self._bound(), sent, terminate, signal, wait, timeout)

    def tuple_after(self, parent: Tuple | None) -> Tuple:
        """Ids of the members, as Celery writes them."""
        return (self.id, parent), [member.as_tuple() for member in self.results]

    def as_list(self) -> list[str]:
        """Ids of the tasks."""
        return [leaf.id for leaf in self.leaves()]

    def __iter__(self) -> Iterator[ResultBase]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, index: int) -> ResultBase:
        return self.results[index]

    def __eq__(self, other: object) -> bool:
        return other.results == self.results if isinstance(other, ResultSet) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)  # its members may change

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(member.id for member in self.results)}]>"

    # ---- steps

    def _bound(self) -> Results:
        if self._app_results is None:
            bound = (leaf._results for leaf in self.leaves() if leaf._results is not None)  # noqa: SLF001
            self._app_results = next(bound, None) or current_results()
        return self._app_results

    def _looked_up(self) -> list[tuple[AsyncResult[Any], Meta]]:
        """The tasks with what is known of them, those that may have ended asked for together."""
        leaves = list(self.leaves())
        ids = list({leaf.id: None for leaf in leaves if not leaf.known})
        found: dict[str, Meta] = {}
        for start in range(0, len(ids), _BATCH):
            results = self._bound()
            for document in results.backend.fetch(ids[start : start + _BATCH]).values():
                meta = results.loads(document)
                found[meta.task_id] = meta
        told = []
        for leaf in leaves:
            if leaf.id in found:
                leaf.settle(found[leaf.id])
                told.append((leaf, found[leaf.id]))
            elif leaf.known:
                told.append((leaf, leaf.meta))
            else:
                told.append((leaf, Meta(leaf.id, absent_state(leaf.id, self._bound()))))
        return told

    def _gathering(
        self,
        timeout: float | None,
        follow: bool = False,
        on_message: Callable[[dict[str, Any]], object] | None = None,
        refuse: bool = True,
    ) -> Gathering[AsyncResult[Any]]:
        before = self.ancestors() if follow else ()
        return Gathering(self.leaves(), self._bound, timeout, on_message=on_message, ancestors=before, refuse=refuse)

    def _values(self, propagate: bool) -> list[Any]:
        return [member.get(propagate=propagate) for member in self.results]
