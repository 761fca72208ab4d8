"""``rpc://``: answers come as messages to a queue of the process that has sent the task.

Owns what a backend is over a reply queue: the queue is declared before the first task is sent and consumed from the
first wait or look on. It outlives connections and, with ``result_persistent``, the broker; answers that nobody has
asked for are kept in memory for ``result_expires``, at most 64 MiB of them. Only the sending process can read its
answers, and after a fork each side has a queue of its own. Waiting threads drive the app's connection themselves;
coroutines use the one of their event loop.

A loop that was stopped without being closed keeps what was on its way to it until its connection times out.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from amqtask import clock
from amqtask.broker.reply_box import ReplyBox
from amqtask.broker.reply_queue import ReplyQueue
from amqtask.errors import AmqtaskError, BackendError, ConfigError, NoResultBackend, SerializationError
from amqtask.results.backends._records import state_of
from amqtask.results.backends._rpc_pump import Pump
from amqtask.results.meta import load
from amqtask.results.states import READY_STATES, SUCCESS
from amqtask.wire.ids import born
from amqtask.wire.signing import ANSWER, Signer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from amqtask.broker.reply_box import ReplyWatch
    from amqtask.config.settings import Settings
    from amqtask.results.base import Record
    from amqtask.wire.message import PropertiesLike

_UNREAD_LIMIT = 64 * 1024 * 1024
"""Bytes of answers that nobody has asked for."""

_LOOK = 10.0
"""Seconds that a look at what has arrived may take, connecting included."""

_AGAIN = 2.0
"""Seconds that a look may take where all have ended, some of them badly: a replay may have done better since.

Where such a look fails, the next one is as long in coming: what is known of a thousand failures is told meanwhile.
"""

_LAST_LOOK = 0.5
"""Seconds that a look may take which was begun when a wait's time was up, or nearly."""

_HARMLESS = ("json", "msgpack")
"""Serializers that answers are looked into with before anybody has asked for them."""


class SyncReplies(Protocol):
    """What is needed of :class:`amqtask.broker.reply_sync.SyncReplies`."""

    def prepare(self) -> None:
        """Have the queue declared."""

    def receive(self, watch: ReplyWatch, timeout: float | None) -> None:
        """Wait for news."""

    def look(self, enough: Callable[[], bool], timeout: float) -> None:
        """Take in what is there, until that is enough."""

    def pump(self, timeout: float) -> None:
        """Drive the connection for a while, if answers come to it."""


class AioReplies(Protocol):
    """What is needed of :class:`amqtask.broker.aio.AioTransport`."""

    async def aprepare(self) -> None:
        """Have the queue declared."""

    async def receive(self, watch: ReplyWatch, timeout: float | None) -> None:  # noqa: ASYNC109 -- theirs
        """Wait for news."""

    async def look(self, enough: Callable[[], bool], timeout: float) -> None:  # noqa: ASYNC109 -- theirs
        """Take in what is there, until that is enough."""


class Connections(Protocol):
    """The app's connections (:class:`amqtask.app.transport.BrokerTransport`)."""

    @property
    def replies(self) -> SyncReplies:
        """For threads."""

    @property
    def aio(self) -> AioReplies:
        """For coroutines."""

    @property
    def receiving(self) -> bool:
        """Do answers come to the connection of threads?"""

    def receive_on(self, queue: ReplyQueue) -> None:
        """Use this queue."""


class RpcBackend:
    """See the module, and :class:`amqtask.results.base.Backend`. Thread-safe and fork-safe.

    Args:
        url: ``rpc://``; the broker is the app's.
        settings: of the app.

    Raises:
        ConfigError: the URL names a host.
    """

    by_message = True
    chords = None

    def __init__(self, url: str, settings: Settings) -> None:
        if urlsplit(url).netloc:
            raise ConfigError("result_backend: rpc:// takes no address, answers come through the app's broker_url")
        expires = settings.result_expires
        self._box = ReplyBox(expires, _UNREAD_LIMIT, _replaces)
        self._groups = ReplyBox(expires, _UNREAD_LIMIT, lambda _old, _new: True)
        self._signer = Signer(settings)
        self._queue = ReplyQueue(self._box, expires, self._check)
        self._bound: Connections | None = None
        self._elsewhere: Callable[[], bool] = lambda: False
        self._pump = Pump(self)
        self._rests_until = float("-inf")

    def bind(self, connections: Connections, *, elsewhere: Callable[[], bool] = lambda: False) -> None:
        """Use these connections; to be called once, before anything is sent through them.

        Args:
            connections: the app's own.
            elsewhere: tells whether what is sent now goes another way, as in a worker's task.
        """
        self._bound, self._elsewhere = connections, elsewhere
        connections.receive_on(self._queue)

    @property
    def reply_to(self) -> str:
        """Name of this process's queue, for messages; from now on whatever sends declares it first."""
        return self._queue.name

    def _check(self, properties: PropertiesLike, body: bytes) -> None:
        # what the answer is kept under; signed is the id of the task, which is the same
        self._signer.verify(properties, body, ANSWER, properties.correlation_id, any_age=True)

    # -- before sending -------------------------------------------------------------------------------------------

    def expect(self, task_ids: Collection[str]) -> None:  # noqa: ARG002 -- the queue is the same for all
        """See that the queue exists, before tasks are sent through another connection than the app's own.

        The app's own connections do so by themselves. A broker that can't be reached or refuses is no error here: the
        task can run all the same, and whoever waits for its result is told. Blocks; in coroutines use :meth:`aexpect`.
        """
        if self._elsewhere() and self._queue.wanted:
            self._connections.replies.prepare()

    async def aexpect(self, task_ids: Collection[str]) -> None:  # noqa: ARG002 -- the queue is the same for all
        """Like :meth:`expect`, without blocking the running loop."""
        if self._elsewhere() and self._queue.wanted:
            await self._connections.aio.aprepare()

    # -- reading --------------------------------------------------------------------------------------------------

    def fetch(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """What has arrived, in the queue or here.

        Raises:
            BackendError: a task has not told its end, and the queue can't be looked into.
        """
        return self.fetched(task_ids, _LOOK)

    def fetched(self, task_ids: Sequence[str], timeout: float) -> Mapping[str, bytes]:
        """:meth:`fetch` within some seconds."""
        if self._worth_a_look(task_ids):
            with self._looking(task_ids):
                self._connections.replies.look(lambda: self._all_well(task_ids), self._patience(task_ids, timeout))
            self._pump.check()
        return self._box.get(task_ids)

    def fetch_by(self, task_ids: Sequence[str], deadline: float) -> Mapping[str, bytes] | None:
        """As :class:`amqtask.results.base.Timely`."""
        try:
            return self.fetched(task_ids, max(deadline - clock.monotonic(), _LAST_LOOK))
        except BackendError:
            if clock.monotonic() < deadline:
                raise
            return None

    async def afetch(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Like :meth:`fetch`, without blocking the running loop."""
        return await self.afetched(task_ids, _LOOK)

    async def afetched(self, task_ids: Sequence[str], seconds: float) -> Mapping[str, bytes]:
        """Like :meth:`fetched`, without blocking the running loop."""
        if self._worth_a_look(task_ids):
            with self._looking(task_ids), self._pump:
                seconds = self._patience(task_ids, seconds)
                await self._connections.aio.look(lambda: self._all_well(task_ids), seconds)
        return self._box.get(task_ids)

    @contextmanager
    def _looking(self, task_ids: Collection[str]) -> Iterator[None]:
        try:
            with _as_backend_error():
                yield
        except BackendError:
            if not self._all_ended(task_ids):
                raise
            self._rests_until = clock.monotonic() + _AGAIN

    def _worth_a_look(self, task_ids: Collection[str]) -> bool:
        if not self._queue.wanted or self._all_well(task_ids):
            return False
        return clock.monotonic() >= self._rests_until or not self._all_ended(task_ids)

    def _patience(self, task_ids: Collection[str], timeout: float) -> float:
        return min(timeout, _AGAIN) if self._all_ended(task_ids) else timeout

    def _all_ended(self, task_ids: Collection[str]) -> bool:
        """Has each of these told its end?"""
        return self._all_in(READY_STATES, task_ids)

    def _all_well(self, task_ids: Collection[str]) -> bool:
        """Is the last word on each of these here? After anything but a success, another state may wait in the queue."""
        return self._all_in((SUCCESS,), task_ids)

    @staticmethod
    def ended_badly(here: Mapping[str, bytes]) -> list[str]:
        """Which of these have told their end, and may tell a better one after a replay."""
        return [task_id for task_id, document in here.items() if state_of(document) in READY_STATES - {SUCCESS}]

    def _all_in(self, states: Collection[str], task_ids: Collection[str]) -> bool:
        found = self._box.peek(task_ids)
        return all(task_id in found and state_of(found[task_id]) in states for task_id in task_ids)

    def watch(self, task_ids: Collection[str]) -> RpcWatch:
        """Begin to watch.

        Raises:
            NoResultBackend: tasks that another process has sent, as far as that can be told.
        """
        watch = self._box.watch(task_ids)
        try:
            self._check_ours(task_ids, watch.news)
        except NoResultBackend:
            watch.close()
            raise
        return RpcWatch(self, watch, self._connections, self._pump)

    def forget(self, task_ids: Sequence[str]) -> None:
        """Remove answers that have arrived; those that come later are kept as any other."""
        self._box.forget(task_ids)

    def _check_ours(self, task_ids: Collection[str], here: Mapping[str, bytes]) -> None:
        first = self._queue.inherited_before
        for task_id in task_ids:
            if task_id in here:
                continue
            if not self._queue.wanted or (first is not None and born(task_id) is not None and task_id < first):
                raise NoResultBackend(
                    f"no answer to task {task_id} can come to this process: with rpc:// only the process that has "
                    "sent a task gets its result, and after a fork that is not the child; use a backend that stores "
                    "results (redis://, db+postgresql://, ...) to read them elsewhere"
                )

    # -- storing --------------------------------------------------------------------------------------------------

    def store(self, records: Sequence[Record]) -> None:
        """Keep documents of this process's own tasks here; workers answer by message instead."""
        for record in records:
            self._box.put(record.task_id, record.document)

    def save_group(self, group_id: str, document: bytes) -> None:
        """Keep it in this process."""
        self._groups.put(group_id, document)

    def fetch_group(self, group_id: str) -> bytes | None:
        """What this process has saved.

        Raises:
            NoResultBackend: it has not.
        """
        found = self._groups.get([group_id])
        if group_id not in found:
            raise NoResultBackend(
                f"group {group_id} was not saved by this process, or has expired: with rpc:// groups are kept in "
                "memory; use a backend that stores results (redis://, db+postgresql://, ...) to restore them elsewhere"
            )
        return found[group_id]

    def forget_group(self, group_id: str) -> None:
        """Remove it."""
        self._groups.forget([group_id])

    def clean_up(self) -> int:
        """Nothing: what has expired goes by itself."""
        return 0

    def close(self) -> None:
        """Nothing: the connections are the app's."""

    async def aclose(self) -> None:
        """Nothing, see :meth:`close`."""

    @property
    def _connections(self) -> Connections:
        if self._bound is None:
            raise BackendError("the rpc:// backend belongs to no app yet: bind() was not called")
        return self._bound

    def needs_pump(self) -> bool:
        """Do answers come to the blocking connection, so that somebody has to drive it for coroutines that wait?"""
        return self._connections.receiving

    def pump(self, timeout: float) -> None:
        """Drive it for a while."""
        self._connections.replies.pump(timeout)


class RpcWatch:
    """See :class:`amqtask.results.base.Watch`."""

    begun = False
    """Connections that are lost come back by themselves; what is raised is a refusal, which no patience changes."""

    def __init__(self, backend: RpcBackend, watch: ReplyWatch, connections: Connections, pump: Pump) -> None:
        self._backend, self._watch, self._connections, self._pump = backend, watch, connections, pump
        self._doubtful = backend.ended_badly(watch.news)

    def wait(self, timeout: float | None) -> Mapping[str, bytes]:
        """Documents that came since the last call; empty when ``timeout`` seconds passed.

        Driven by the calling thread. A connection that is lost meanwhile is made again. Who gives no time looks into
        the queue, as :meth:`RpcBackend.fetch` does.

        Raises:
            BackendError: the broker refuses the connection, or the queue; or it can't be looked into.
        """
        if self._doubtful:
            doubtful, self._doubtful = self._doubtful, []
            self._backend.fetched(doubtful, timeout or _LOOK)
        elif self._watch.news:
            pass
        elif timeout is not None and timeout <= 0:
            self._backend.fetch(tuple(self._watch.keys))
        else:
            with _as_backend_error():
                self._connections.replies.receive(self._watch, timeout)
            self._pump.check()
        return self._watch.take()

    async def await_(self, timeout: float | None) -> Mapping[str, bytes]:  # noqa: ASYNC109 -- as wait()
        """Like :meth:`wait`, without blocking the running loop."""
        if self._doubtful:
            doubtful, self._doubtful = self._doubtful, []
            await self._backend.afetched(doubtful, timeout or _LOOK)
        elif self._watch.news:
            pass
        elif timeout is not None and timeout <= 0:
            await self._backend.afetch(tuple(self._watch.keys))
        else:
            with _as_backend_error(), self._pump:
                await self._connections.aio.receive(self._watch, timeout)
        return self._watch.take()

    def close(self) -> None:
        """Stop watching; harmless when closed."""
        self._watch.close()


@contextmanager
def _as_backend_error() -> Iterator[None]:
    try:
        yield
    except (BackendError, ConfigError):
        raise
    except AmqtaskError as error:
        raise BackendError(f"rpc://: {error}") from error


def _replaces(old: bytes, new: bytes) -> bool:
    """Whether the newer of two documents counts: always, except that nothing but another SUCCESS replaces one."""
    return not _succeeded(old) or _succeeded(new)


def _succeeded(document: bytes) -> bool:
    try:
        return SUCCESS.encode() in document and load(document, _HARMLESS).status == SUCCESS
    except SerializationError:
        return False


BACKEND = RpcBackend
