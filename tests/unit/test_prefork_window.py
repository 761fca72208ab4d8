"""Where a soft time limit hits a child: in the task, once, for the right job, and never in the middle of a frame."""

from __future__ import annotations

import select
import signal
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from interrupts import signalled
from pool_app import make_app
from pool_host import job_for

from amqtask.errors import SoftTimeLimitExceeded
from amqtask.execution.executor import Executor
from amqtask.worker.pools._inner_transport import States
from amqtask.worker.pools.prefork.cells import Cells
from amqtask.worker.pools.prefork.child import Child, Heritage
from amqtask.worker.pools.prefork.frames import Frame, FrameReader
from amqtask.worker.pools.prefork.pipe import ChildPipe
from amqtask.worker.pools.prefork.window import TaskWindow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amqtask.execution.executor import Kept
    from amqtask.execution.job import Job, Outcome

LARGE = b"x" * 4_000_000
"""More than fits into the buffers of a socket."""


class Late(Exception):
    """What is raised from outside."""


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, ChildPipe]]:
    parent, child = socket.socketpair()
    with parent, child:
        yield parent, ChildPipe(child)


def open_window(pipe: ChildPipe) -> TaskWindow:
    window = TaskWindow()
    window.go_behind(pipe.shield)
    return window


def test_nothing_is_raised_outside_of_the_task(ends: tuple[socket.socket, ChildPipe]) -> None:
    window = open_window(ends[1])
    assert not window.interrupt(Late())
    with window.of(job_for(1, "add")):
        pass
    assert not window.interrupt(Late())
    with pytest.raises(Late), window.of(job_for(2, "add")):
        window.interrupt(Late())


def test_interruption_in_the_middle_of_a_frame_waits_for_its_end(ends: tuple[socket.socket, ChildPipe]) -> None:
    parent, pipe = ends
    window, rung = open_window(pipe), threading.Event()
    frames: list[list[object]] = []

    def ring() -> None:
        rung.set()
        window.interrupt(Late())

    def in_the_middle() -> bool:
        return bool(select.select([parent], [], [], 0)[0])

    def read() -> None:
        assert rung.wait(60)
        reader = FrameReader()
        while not frames:
            frames.extend(reader.feed(parent.recv(65536)))

    thread = threading.Thread(target=read)
    thread.start()
    with pytest.raises(Late), signalled(ring, in_the_middle), window:
        pipe.write(Frame.STORE, LARGE)
    thread.join(60)
    assert frames == [[Frame.STORE, LARGE]]


def test_soft_limit_is_raised_once_and_for_the_job_that_is_meant(ends: tuple[socket.socket, ChildPipe]) -> None:
    cells, window = Cells(1), open_window(ends[1])
    app = make_app()
    child = Child(Heritage(app, "w1@here", Executor(app, "w1@here"), window, States(), cells, None), ends[1], 0)
    child._key = 7
    with window:
        cells.interrupt(0, 6)
        child.nudge(0, None)
        cells.interrupt(0, 7)
        with pytest.raises(SoftTimeLimitExceeded):
            child.nudge(0, None)
        child.nudge(0, None)


def test_soft_limit_that_comes_before_the_task_has_begun_is_raised_when_it_comes_again(
    ends: tuple[socket.socket, ChildPipe],
) -> None:
    cells, window = Cells(1), open_window(ends[1])
    app = make_app()
    child = Child(Heritage(app, "w1@here", Executor(app, "w1@here"), window, States(), cells, None), ends[1], 0)
    child._key = 7
    cells.interrupt(0, 7)
    child.nudge(0, None)
    with pytest.raises(SoftTimeLimitExceeded), window:
        child.nudge(0, None)


def test_window_that_an_interruption_has_left_open_is_closed_after_the_job(
    ends: tuple[socket.socket, ChildPipe],
) -> None:
    class Interrupted(Executor):
        def run(self, job: Job, kept: Kept | None = None) -> Outcome:
            outcome = super().run(job, kept)
            window.__enter__()  # as if the signal had come at the first line of __exit__()
            return outcome

    app, window = make_app(), open_window(ends[1])
    child = Child(Heritage(app, "w1@here", Interrupted(app, "w1@here"), window, States(), Cells(1), None), ends[1], 0)
    child._run(job_for(1, "add", 1))
    assert not window.calm


def test_child_that_is_told_to_end_while_it_reports_reports_first(
    ends: tuple[socket.socket, ChildPipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, pipe = ends
    app = make_app()
    window = open_window(pipe)
    child = Child(Heritage(app, "w1@here", Executor(app, "w1@here"), window, States(), Cells(1), None), pipe, 0)
    write = pipe.write

    def told(*fields: object) -> None:
        if fields[0] == Frame.DONE:
            child.leave(signal.SIGTERM, None)
        write(*fields)

    monkeypatch.setattr(pipe, "write", told)
    monkeypatch.setattr("os._exit", lambda status: pytest.fail(f"it ended with {status}"))
    pipe.jobs.append(job_for(1, "add", 1))
    child.run()
    reader = FrameReader()
    assert [frame[0] for frame in reader.feed(parent.recv(65536))] == [Frame.READY, Frame.DONE]
