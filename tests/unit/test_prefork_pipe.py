"""The child's end of the stream to its parent."""

from __future__ import annotations

import socket
import threading

from interrupts import inside, interrupted

from amqtask.wire.message import Outgoing, Properties
from amqtask.worker.pools.prefork.frames import Frame, FrameWriter
from amqtask.worker.pools.prefork.pipe import ChildPipe
from amqtask.worker.pools.prefork.window import Shield


def test_child_goes_on_after_a_signal_handler_has_interrupted_a_publish() -> None:
    parent, child = socket.socketpair()
    pipe = ChildPipe(child)
    with parent, child:
        with interrupted(inside(Shield.wait_readable)):
            pipe.publish([Outgoing("", "q", Properties(), b"")], 10)
        parent.sendall(FrameWriter().frame(Frame.CLOSE))
        ended: list[object] = []
        reader = threading.Thread(target=lambda: ended.append(pipe.wait_job()), daemon=True)
        reader.start()
        reader.join(60)
        assert ended == [None]
