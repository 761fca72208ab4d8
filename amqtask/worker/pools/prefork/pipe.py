"""The child's end of the stream. Owns reading and writing of the socket inside a child, nothing of tasks.

Whoever needs something reads: the main thread for its next job, any thread that waits for the confirm of a publish.
One thread reads at a time and serves the others, so no thread of its own is needed.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from amqtask import errors
from amqtask.execution.job import Job
from amqtask.worker.pools._inner_transport import InnerTransport
from amqtask.worker.pools.prefork.frames import Frame, FrameReader, FrameWriter, ProtocolError
from amqtask.worker.pools.prefork.values import plain_message
from amqtask.worker.pools.prefork.window import Shield

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amqtask.execution.job import Begin
    from amqtask.results.base import Record
    from amqtask.wire.message import Outgoing

_CHUNK = 65_536
"""Bytes per read; a larger buffer costs more to allocate than it saves."""


class ChildPipe:
    """Frames to and from the parent. Thread-safe; to be made on the thread that runs tasks.

    Attributes:
        jobs: received and not started, oldest first.
        ended: the parent has said CLOSE, or is gone.
        shield: keeps interruptions of the task away from the middle of a frame.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.jobs: deque[Job] = deque()
        self.ended = False
        self.shield = Shield()
        self._sock = sock
        self._gone = False
        self._reader, self._writer = FrameReader(), FrameWriter()
        self._turn = threading.Condition(threading.Lock())
        self._reading = False
        self._writing = threading.Lock()
        self._numbers = itertools.count()
        self._waiting: set[int] = set()
        self._replies: dict[int, Exception | None] = {}

    def write(self, *fields: Any) -> None:
        """Write a frame; blocks while the parent is behind.

        Raises:
            OSError: the parent is gone.
        """
        with self.shield, self._writing:
            self._sock.sendall(self._writer.frame(*fields))

    def wait_job(self) -> Job | None:
        """The next job; None when there will be none."""
        while True:
            try:
                return self.jobs.popleft()  # no look before: the keeper may give jobs back at any time
            except IndexError:
                if self.ended:
                    return None
            self._serve_until(lambda: bool(self.jobs) or self.ended, in_task=False)

    def poll(self) -> None:
        """Take in what has arrived, without waiting; nothing while another thread reads."""
        with self._turn:
            if self._reading or self._gone:
                return
            self._reading = True
        try:
            data = self._sock.recv(_CHUNK, socket.MSG_DONTWAIT)
        except BlockingIOError:
            data = None
        except OSError:
            data = b""
        self._take(data)

    def publish(self, messages: Sequence[Outgoing], timeout: float) -> list[Exception | None]:
        """Publish through the parent and wait for all confirms; the fate of each."""
        numbers = [next(self._numbers) for _ in messages]
        plain = map(plain_message, messages)
        requests = [(number, message, timeout) for number, message in zip(numbers, plain, strict=True)]
        return self._ask(numbers, Frame.PUBLISH, requests)

    def begin(self, chords: Sequence[Begin], key: str) -> None:
        """Have the parent begin chords, and wait for that."""
        number = next(self._numbers)
        (fate,) = self._ask([number], Frame.BEGIN, number, chords, key)
        if fate is not None:
            raise fate

    def _ask(self, numbers: Sequence[int], *frame: Any) -> list[Exception | None]:
        """Write a frame and wait for its answers."""
        with self.shield:
            return self._ask_shielded(numbers, *frame)

    def _ask_shielded(self, numbers: Sequence[int], *frame: Any) -> list[Exception | None]:
        with self._turn:
            self._waiting.update(numbers)
        try:
            self.write(*frame)
            self._serve_until(lambda: self._gone or self._waiting.isdisjoint(numbers), in_task=True)
        except OSError:
            self._gone = True
        except (TypeError, ValueError, OverflowError) as error:
            raise errors.EncodeError(f"a header can't be sent: {error}") from error
        finally:
            with self._turn:
                self._waiting.difference_update(numbers)
        gone = errors.BrokerUnavailable("the worker that publishes for this process is gone")
        return [self._replies.pop(number, gone) for number in numbers]

    def _serve_until(self, ready: Callable[[], bool], *, in_task: bool) -> None:
        """Read, or wait for whoever reads; where a task waits like this it may be interrupted."""
        while True:
            with self._turn:
                while self._reading and not ready():
                    self._turn.wait(self.shield.patience if in_task else None)
                    self.shield.let_through()
                if ready() or self._gone:
                    return
                self._reading = True
            try:
                if in_task:
                    self.shield.wait_readable(self._sock)
                data = self._sock.recv(_CHUNK)
            except OSError:
                data = b""
            except BaseException:  # of a signal handler of the task: whoever reads next must not wait for this thread
                self._take(None)
                raise
            self._take(data)

    def _take(self, data: bytes | None) -> None:
        """End of a turn of reading: hand out what came; None for nothing, empty for the end of the stream."""
        with self._turn:
            self._reading = False
            try:
                for frame in self._reader.feed(data or b""):
                    self._handle(frame)
            except ProtocolError:
                data = b""
            if data == b"":
                self._gone = self.ended = True
            self._turn.notify_all()

    def _handle(self, frame: list[Any]) -> None:
        kind = frame[0]
        if kind == Frame.JOBS:
            self.jobs.extend(map(Job._make, frame[1]))
        elif kind == Frame.REPLY:
            number, fate = frame[1], frame[2]
            if number in self._waiting:
                self._waiting.discard(number)
                self._replies[number] = None if fate is None else _error(*fate)
        elif kind == Frame.CLOSE:
            self.ended = True
        elif kind == Frame.PING:
            with contextlib.suppress(OSError):  # the parent is gone
                self.write(Frame.PONG, frame[1])


class PipeTransport(InnerTransport):
    """Publishes through the parent of a prefork child."""

    def __init__(self, pipe: ChildPipe) -> None:
        self._pipe = pipe

    def _exchange(self, messages: Sequence[Outgoing], timeout: float) -> list[Exception | None]:
        return self._pipe.publish(messages, timeout) if messages else []

    def begin(self, chords: Sequence[Begin], key: str) -> None:
        """Have the parent begin chords, and wait for that."""
        self._pipe.begin(chords, key)

    def store(self, records: Sequence[Record]) -> None:
        """Store states of the running task; the frame of its outcome comes later."""
        with contextlib.suppress(OSError):  # the parent is gone; this process follows
            self._pipe.write(Frame.STORE, records)


def _error(name: str, text: str) -> Exception:
    """The parent's exception, by the name of its class; most have constructors of their own, so around those."""
    known = getattr(errors, name, None)
    kind = known if isinstance(known, type) and issubclass(known, errors.AmqtaskError) else errors.BrokerError
    error = kind.__new__(kind, text)
    error.args = (text,)
    return error
