"""One child as the parent sees it: its socket and the jobs it holds. Owns non-blocking reading and writing.

All of it runs on the I/O thread; a socket that is full never blocks, the rest is written when there is room.
"""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.worker.pools.prefork.frames import Frame, FrameReader, FrameWriter, ProtocolError
from amqtask.worker.pools.prefork.run_times import WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.interface import Loop
    from amqtask.execution.job import Job, Outcome

_CHUNK = 65_536
"""Bytes per read; a larger buffer costs more to allocate than it saves."""


@dataclass(slots=True)
class Stop:
    """A job that has to be stopped: the signal to send to its child, and the outcome instead of its own.

    ``sent`` is when the signal was sent, monotonic; None while the job waits behind another one.
    """

    number: int
    outcome: Outcome
    sent: float | None = None


class Slot:
    """A place for one child after the other.

    Attributes:
        number: of its shared cell; no other slot has it at the same time.
        pid: of the child; 0 while the fork server makes it.
        alive: a child was ordered and its death was not told yet, whatever became of its socket.
        ready: the child has reported that it is up.
        early_deaths: children in a row that died before they were up.
        jobs: handed over and not reported back, in order.
        counted: how much room the pool has counted for this slot.
        given: how many jobs its children were given.
        left: how many more jobs this child takes before it is replaced; None: no end.
        heir: the slot of the child that replaces this one, which takes no more jobs.
        elder: the slot that this one takes no job before.
        leaving: it is not replaced; it takes no more jobs.
        killed: why the pool has its child killed; empty when it has not.
        stops: what :meth:`Pool.stop_job` was asked, by key.
        progress: when the child was born, or last did anything, or got a job while it had none; monotonic.
        stopped: since when the child is stopped by a signal; None when it runs.
        look_at: when the watch looks at this slot again; None: not at all.
        timer: of the watch.
    """

    def __init__(self, number: int, loop: Loop) -> None:
        self.number, self._loop = number, loop
        self.pid = 0
        self.alive = self.ready = False
        self.early_deaths = 0
        self.jobs: dict[int, Job] = {}
        self.counted = self.given = 0
        self.left: int | None = None
        self.heir: Slot | None = None
        self.elder: Slot | None = None
        self.leaving = False
        self.killed = ""
        self.stops: dict[int, Stop] = {}
        self.progress = 0.0
        self.stopped: float | None = None
        self.look_at: float | None = None
        self.timer: object | None = None
        self._generation = 0
        self._slow: set[int] = set()
        self._sock: socket.socket | None = None
        self._closing = False
        self._gathered: list[Job] = []
        self._unsent = bytearray()
        self._reader, self._writer = FrameReader(), FrameWriter()

    @property
    def open(self) -> bool:
        """Whether a child is there, or being made, and takes jobs."""
        if self._sock is None or self.left == 0:
            return False
        return not (self._closing or self.leaving or self.heir or self.elder or self.killed)

    @property
    def closing(self) -> bool:
        """Whether the child was told to end, or has ended."""
        return self._closing

    @property
    def connected(self) -> bool:
        """Whether a child is there, or being made."""
        return self._sock is not None

    def room(self, when_empty: int) -> int:
        """How many more jobs it takes: ``when_empty`` for an idle child, none behind a job not known to be short."""
        if not self.open:
            return 0
        room = 0 if self._slow else WINDOW - len(self.jobs) if self.jobs else when_empty
        return room if self.left is None else min(room, self.left)

    def connect(self, on_readable: Callable[[], None]) -> socket.socket:
        """A new socket pair; returns the child's end, which the caller closes once it is handed over."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._sock, self.pid, self.ready, self._closing = ours, 0, False, False
        self.killed, self.stopped, self.progress = "", None, clock.monotonic()
        self._generation += 1
        self._reader, self._writer = FrameReader(), FrameWriter()
        self._loop.watch(ours.fileno(), on_readable)
        return theirs

    def disconnect(self) -> None:
        """Forget the socket and what was not written; keeps ``jobs``."""
        if self._sock is not None:
            self._loop.unwatch(self._sock.fileno())
            self._sock.close()
        self._sock = None
        self._gathered.clear()
        self._unsent.clear()

    def clear(self) -> list[int]:
        """The child is dead: forget it; returns the keys of the jobs that it held, in order."""
        self.disconnect()
        keys = list(self.jobs)
        self.jobs.clear()
        self.stops.clear()
        self._slow.clear()
        return keys

    def give(self, job: Job, *, short: bool) -> None:
        """Gather a job for :meth:`flush`."""
        if not self.jobs:
            self.progress = clock.monotonic()
        self.given += 1
        if self.left is not None:
            self.left -= 1
        self.jobs[job.key] = job
        if not short:
            self._slow.add(job.key)
        self._gathered.append(job)

    def take(self, key: int) -> Job | None:
        """Forget a job that was reported, or is about to be; None when it is not this slot's."""
        self._slow.discard(key)
        return self.jobs.pop(key, None)

    def slow_down(self) -> None:
        """The job at the head takes long: nothing is put behind it any more."""
        if self.jobs:
            self._slow.add(next(iter(self.jobs)))

    def flush(self) -> list[tuple[int, str]]:
        """Write what was gathered; returns (key, reason) of jobs that can't be written."""
        jobs, self._gathered = self._gathered, []
        if not jobs:
            return []
        try:
            self._write(self._writer.frame(Frame.JOBS, jobs))
            return []
        except (TypeError, ValueError, OverflowError):
            return self._flush_one_by_one(jobs)

    def _flush_one_by_one(self, jobs: list[Job]) -> list[tuple[int, str]]:
        refused = []
        for job in jobs:
            try:
                self._write(self._writer.frame(Frame.JOBS, [job]))
            except (TypeError, ValueError, OverflowError) as error:
                refused.append((job.key, f"its headers can't be handed to a child: {error}"))
        return refused

    def replier(self, number: int) -> Callable[[Exception | None], None]:
        """What tells the child the fate of its publish ``number``, unless it is dead by then."""
        generation = self._generation

        def reply(error: Exception | None) -> None:
            if generation == self._generation:
                self._write(self._writer.frame(Frame.REPLY, number, error and _plain(error)))

        return reply

    def ping(self, number: int) -> None:
        """Have the child send this number back."""
        self._write(self._writer.frame(Frame.PING, number))

    def close(self) -> None:
        """Let the child end after the jobs it has."""
        self._write(self._writer.frame(Frame.CLOSE))
        self._closing, self.progress = True, clock.monotonic()

    def receive(self) -> list[list[Any]] | None:
        """Frames that have come; None at the end of the stream.

        Raises:
            ProtocolError: what the child, or something in it, wrote can't be read.
        """
        if self._sock is None:
            return None
        try:
            data = self._sock.recv(_CHUNK)
        except BlockingIOError:
            return []
        except OSError:
            return None
        return self._reader.feed(data) if data else None

    def drain(self) -> list[list[Any]]:
        """The child is dead: take no more jobs, and return the last frames it wrote."""
        self._closing = True
        self.stopped = None
        frames: list[list[Any]] = []
        with contextlib.suppress(OSError, ProtocolError):  # BlockingIOError: something it forked holds the socket
            while self._sock is not None and (data := self._sock.recv(_CHUNK)):
                frames += self._reader.feed(data)
        return frames

    def _write(self, data: bytes) -> None:
        if self._sock is None:
            return
        if self._unsent:
            self._unsent += data
            return
        sent = self._send(data)
        if sent < len(data):
            self._unsent += data[sent:]
            self._loop.watch_writable(self._sock.fileno(), self._write_more)

    def _write_more(self) -> None:
        if self._sock is None:
            return
        self.progress = clock.monotonic()
        del self._unsent[: self._send(self._unsent)]
        if not self._unsent:
            self._loop.watch_writable(self._sock.fileno(), None)

    def _send(self, data: bytes | bytearray) -> int:
        """Bytes taken; all of them when the child is dead, which the fork server reports."""
        assert self._sock is not None
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)


def _plain(error: Exception) -> tuple[str, str]:
    return type(error).__name__, str(error).encode(errors="replace").decode()
