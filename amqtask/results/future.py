"""AsyncResult: the handle of a sent task. Owns the handle; what is stored of a task is asked for when it is wanted."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from amqtask.errors import ResultGone, TaskRevoked
from amqtask.results.absence import absent_state, explain
from amqtask.results.collect import DependencyGraph, collect, get_leaf, graph_of, iterdeps
from amqtask.results.current import current_results
from amqtask.results.facts import Facts
from amqtask.results.failures import to_exception
from amqtask.results.gathering import Gathering
from amqtask.results.meta import Meta
from amqtask.results.node import forgotten
from amqtask.results.source import Results, ResultsOwner, revoke
from amqtask.results.states import EXCEPTION_STATES, EXPIRED, PROPAGATE_STATES, REVOKED

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from amqtask.results.node import ResultBase, Tuple

    Callback = tuple[Callable[["AsyncResult[Any]"], object], Callable[[Exception], object] | None]

__all__ = ["AsyncResult", "R_co", "Results"]

R_co = TypeVar("R_co", covariant=True)

_then_lock = threading.Lock()
"""Held for moments; one for all handles, which are many and hardly ever have callbacks."""


class AsyncResult(Facts, Generic[R_co]):
    """A task that was sent: the broker has confirmed its message. Hashable, equal by id; thread-safe.

    What is known of a task that has ended is kept: it is asked for once. Methods that ask the backend raise
    NoResultBackend without one, BackendError when it can't be reached, and DecodeError for a document that can't be
    read.

    Args:
        id: of the task.
        name: of the task, when it is known.
        results: of the app; without them, of ``app``, or of the app made last.
        parent: what had to end before the task was sent.
        app: whose task it is.

    Raises:
        ValueError: ``id`` is no text, or an empty one.

    Attributes:
        id: of the task; a UUIDv7 unless the caller chose another.
        parent: what had to end before the task was sent, or None.
    """

    __slots__ = ("_meta", "_name", "_results", "_then", "id", "parent")

    def __init__(
        self,
        id: str,  # noqa: A002 -- Celery's name for it
        name: str = "",
        *,
        results: Results | None = None,
        parent: ResultBase | None = None,
        app: ResultsOwner | None = None,
    ) -> None:
        given: object = id
        if not isinstance(given, str) or not given:  # nothing would ever come for it
            raise ValueError(f"the id of a task is a text that is not empty, not {given!r}")
        if results is None and app is not None:
            results = app.results
        self.id, self._name, self._results, self.parent = id, name, results, parent
        self._meta: Meta | None = None
        self._then: tuple[Callback, ...] = ()

    # ---- waiting

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float | None = None,  # noqa: ARG002 -- Celery's; nothing is polled for
        no_ack: bool = True,  # noqa: ARG002 -- Celery's
        follow_parents: bool = True,
        callback: Callable[[str, Any], object] | None = None,
        on_message: Callable[[dict[str, Any]], object] | None = None,
        on_interval: Callable[[], object] | None = None,  # noqa: ARG002 -- Celery's
        disable_sync_subtasks: bool = True,
    ) -> R_co:
        """Wait for the end of the task.

        Args:
            timeout: seconds; None waits for ever, 0 looks once.
            propagate: raise the exception of a task that failed; else it is returned.
            interval: taken because Celery takes it, as ``no_ack`` and ``on_interval``.
            no_ack: see ``interval``.
            on_interval: see ``interval``.
            follow_parents: with ``propagate``, let the failure of a task before this one end the wait too: it will
                never run.
            callback: called with the id and what is returned.
            on_message: called with every document that comes, progress and retries included.
            disable_sync_subtasks: refuse to wait inside a task.

        Returns:
            What the task returned.

        Raises:
            ResultTimeout: it has not ended in time; it may still do.
            ResultGone: there is nothing to wait for: the state is EXPIRED or UNKNOWN.
            TaskRevoked: it was revoked, or had expired, and never ran.
            RemoteError: it failed with an exception whose class does not exist here.
            Exception: what the task raised.
            RuntimeError: this is inside a task.
        """
        if self._meta is None:
            for _ in self._gathering(timeout, follow_parents and propagate, on_message, disable_sync_subtasks):
                pass
        return self.maybe_throw(propagate, callback)

    async def aget(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 -- as get()
        propagate: bool = True,
        follow_parents: bool = True,
        on_message: Callable[[dict[str, Any]], object] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> R_co:
        """Like :meth:`get`, without blocking the running loop; ``await result`` is the same without arguments."""
        if self._meta is None:
            async for _ in self._gathering(timeout, follow_parents and propagate, on_message, disable_sync_subtasks):
                pass
        return self.maybe_throw(propagate)

    def __await__(self) -> Generator[Any, None, R_co]:
        return self.aget().__await__()

    def wait(self, timeout: float | None = None, propagate: bool = True, **options: Any) -> R_co:
        """:meth:`get`, by its older name."""
        return self.get(timeout, propagate, **options)

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], object] | None = None) -> R_co:
        """What the task returned, if it is known to have ended; see :meth:`get`.

        Raises:
            Exception: it has failed, and ``propagate`` is true.
        """
        return self.told(self.meta, propagate, callback)

    maybe_reraise = maybe_throw

    def then(
        self,
        callback: Callable[[AsyncResult[R_co]], object],
        on_error: Callable[[Exception], object] | None = None,
        weak: bool = False,  # noqa: ARG002 -- Celery's
    ) -> AsyncResult[R_co]:
        """Call something with this handle once its end is known here: at once if it is.

        Args:
            callback: called once, whether the task failed or not, in the thread that learns of the end by ``get()``,
                ``ready()`` or those of a group.
            on_error: called with what ``callback`` raises; without it, that is raised to who has asked.
            weak: taken because Celery takes it.
        """
        with _then_lock:
            if self._meta is None:
                self._then += ((callback, on_error),)
                return self
        self._call(callback, on_error)
        return self

    # ---- what is known now

    @property
    def meta(self) -> Meta:
        """What is stored of the task; of one of which nothing is stored, its state."""
        if self._meta is not None:
            return self._meta
        results = self._bound()
        document = results.backend.fetch([self.id]).get(self.id)
        if document is None:
            return Meta(self.id, absent_state(self.id, results))
        meta = results.loads(document)
        self.settle(meta)
        return meta

    @property
    def result(self) -> Any:
        """What the task returned; the exception of one that failed or is retried; what ``update_state`` was given."""
        return self._value(self.meta)

    def exists(self) -> bool:
        """Whether anything is stored of it."""
        return self._meta is not None or bool(self._bound().backend.fetch([self.id]))

    @property
    def name(self) -> str | None:
        """Name of the task; as stored, if this handle was made without."""
        return self._name or self.meta.name

    @property
    def children(self) -> Sequence[ResultBase]:
        """Handles of what it sent: callbacks, the next task of its chain, calls in its body."""
        children = self.meta.children
        return [self._bound().from_tuple(child) for child in children] if children else []

    # ---- the tree

    def collect(
        self, intermediate: bool = False, timeout: float | None = None, propagate: bool = True
    ) -> Iterator[tuple[ResultBase, Any]]:
        """This result and all that follows from it, waited for: see :func:`amqtask.results.collect.collect`."""
        return collect(self, intermediate, timeout, propagate)

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[ResultBase | None, ResultBase]]:
        """Handles of everything it sent: see :func:`amqtask.results.collect.iterdeps`."""
        return iterdeps(self, intermediate)

    def get_leaf(self) -> Any:
        """What the last task that follows from this one returned."""
        return get_leaf(self)

    @property
    def graph(self) -> DependencyGraph:
        """What has sent what, as far as it has ended."""
        return graph_of(self)

    def build_graph(self, intermediate: bool = False) -> DependencyGraph:
        """:attr:`graph`; unless ``intermediate``, IncompleteStream is raised where a task has not ended."""
        return graph_of(self, intermediate)

    def to_mermaid(self) -> str:
        """:attr:`graph` as a Mermaid flowchart."""
        return self.graph.to_mermaid()

    def leaves(self) -> Iterator[AsyncResult[Any]]:
        """Itself: a task has no members."""
        yield self

    def forget(self) -> None:
        """Remove what is stored of the task and of those before it."""
        if ids := [task_id for node in (self, *self.ancestors()) for task_id in forgotten(node)]:
            self._bound().backend.forget(ids)

    def revoke(
        self,
        connection: object = None,  # noqa: ARG002 -- Celery's
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Have the task not run; its result is REVOKED then. Holds for workers that start later, too.

        Args:
            connection: Celery's; without effect.
            terminate: stop it if it runs.
            signal: that its process gets then, SIGTERM unless given.
            wait: for the answers of workers.
            timeout: seconds to wait.
        """
        revoke(self._bound(), [self.id], terminate, signal, wait, timeout)

    def tuple_after(self, parent: Tuple | None) -> Tuple:
        """Its id, as Celery writes it."""
        return (self.id, parent), None

    def as_list(self) -> list[str]:
        """Ids of this task and those before it."""
        return [self.id, *(node.id for node in self.ancestors())]

    @property
    def task_id(self) -> str:
        """:attr:`id`, by its older name."""
        return self.id

    def __repr__(self) -> str:
        return f"<AsyncResult: {self._name}[{self.id}]>" if self._name else f"<AsyncResult: {self.id}>"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return other == self.id
        return other.id == self.id if isinstance(other, AsyncResult) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> tuple[Any, ...]:
        # without the app: in another process it belongs to the one there
        return _rebuilt, (self.id, self._name, self.parent)

    # ---- steps

    def told(self, meta: Meta, propagate: bool = True, callback: Callable[[str, Any], object] | None = None) -> R_co:
        """:meth:`maybe_throw`, by what is known of the task already."""
        if propagate and meta.status in PROPAGATE_STATES:
            raise self._failure(meta)
        value = self._value(meta)
        if callback is not None:
            callback(self.id, value)
        return cast("R_co", value)

    def settle(self, meta: Meta) -> None:
        """Take note of what is stored of the task; of its end for good."""
        if not meta.final or self._meta is not None:
            return
        with _then_lock:
            self._meta = meta
            callbacks, self._then = self._then, ()
        for callback, on_error in callbacks:
            self._call(callback, on_error)

    def unsettle(self) -> None:
        """Know nothing of its end any more."""
        self._meta = None

    @property
    def known(self) -> bool:
        """Whether its end is known here, so that nothing has to be asked."""
        return self._meta is not None

    def _bound(self) -> Results:
        if self._results is None:
            self._results = current_results()
        return self._results

    def _gathering(
        self,
        timeout: float | None,
        follow: bool,
        on_message: Callable[[dict[str, Any]], object] | None,
        refuse: bool,
    ) -> Gathering[AsyncResult[R_co]]:
        before = self.ancestors() if follow else ()
        return Gathering((self,), self._bound, timeout, on_message=on_message, ancestors=before, refuse=refuse)

    def _value(self, meta: Meta) -> Any:
        return self._failure(meta) if meta.status in EXCEPTION_STATES or meta.status == EXPIRED else meta.result

    def _failure(self, meta: Meta) -> Exception:
        if meta.status == EXPIRED:
            return ResultGone(explain(self.id, EXPIRED, self._bound()))
        if meta.status == REVOKED and not isinstance(meta.result, dict):
            return TaskRevoked("revoked")
        return to_exception(meta.result, meta.traceback)

    def _call(self, callback: Callable[[Any], object], on_error: Callable[[Exception], object] | None) -> None:
        try:
            callback(self)
        except Exception as error:
            if on_error is None:
                raise
            on_error(error)


def _rebuilt(task_id: str, name: str, parent: ResultBase | None) -> AsyncResult[Any]:
    return AsyncResult(task_id, name, parent=parent)
