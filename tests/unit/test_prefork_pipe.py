"""The child's end of the stream to its parent."""

from __future__ import annotations

import signal
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from amqtask.wire.message import Outgoing, Properties
from amqtask.worker.pools.prefork.frames import Frame, FrameWriter
from amqtask.worker.pools.prefork.pipe import ChildPipe

if TYPE_CHECKING:
    from collections.abc import Iterator


class Late(Exception):
    """What a task's own time limit raises."""


@pytest.fixture
def alarm() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise Late

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("alarm")
def test_child_goes_on_after_a_signal_handler_has_interrupted_a_publish() -> None:
    parent, child = socket.socketpair()
    pipe = ChildPipe(child)
    with parent, child:
        with pytest.raises(Late):
            pipe.publish([Outgoing("", "q", Properties(), b"")], 10)
        parent.sendall(FrameWriter().frame(Frame.CLOSE))
        ended: list[object] = []
        reader = threading.Thread(target=lambda: ended.append(pipe.wait_job()), daemon=True)
        reader.start()
        reader.join(5)
        assert ended == [None]
