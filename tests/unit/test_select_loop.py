"""The event loop: timers, descriptors, calls from threads, exceptions."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from amqtask.broker import loop as loop_module
from amqtask.broker.loop import SelectLoop


@pytest.fixture
def loop() -> Iterator[SelectLoop]:
    loop = SelectLoop()
    yield loop
    loop.close()


def test_timers_fire_in_the_order_of_their_times(loop: SelectLoop):
    seen: list[str] = []
    loop.call_later(0.02, lambda: seen.append("late"))
    loop.call_later(0, lambda: seen.append("first"))
    loop.call_later(0, lambda: seen.append("second"))
    while len(seen) < 3:
        loop.turn(1)
    assert seen == ["first", "second", "late"]


def test_a_cancelled_timer_does_not_fire(loop: SelectLoop):
    seen: list[int] = []
    handle = loop.call_later(0, lambda: seen.append(1))
    loop.cancel(handle)
    loop.cancel(handle)
    loop.turn(0)
    assert seen == []


def test_many_cancelled_timers_do_not_pile_up(loop: SelectLoop):
    for _ in range(5000):
        loop.cancel(loop.call_later(1000, lambda: None))
    assert len(loop._timers) < 2000


def test_a_turn_waits_no_longer_than_asked(loop: SelectLoop):
    loop.call_later(1000, lambda: None)
    loop.turn(0.01)


def test_a_timer_made_by_a_timer_waits_for_the_next_turn(loop: SelectLoop):
    seen: list[str] = []
    loop.call_later(0, lambda: (seen.append("outer"), loop.call_later(0, lambda: seen.append("inner"))))
    loop.turn(0)
    assert seen == ["outer"]
    loop.turn(0)
    assert seen == ["outer", "inner"]


def test_a_call_from_another_thread_ends_the_wait(loop: SelectLoop, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop_module, "_IDLE_TURN", 1000.0)
    threading.Timer(0.02, lambda: loop.call_soon_threadsafe(loop.stop)).start()
    loop.run()


def test_a_readable_descriptor_calls_back(loop: SelectLoop):
    reader, writer = os.pipe()
    seen: list[bytes] = []
    loop.watch(reader, lambda: seen.append(os.read(reader, 10)))
    os.write(writer, b"hello")
    loop.turn(1)
    assert seen == [b"hello"]
    loop.unwatch(reader)
    loop.unwatch(reader)
    os.close(reader)
    os.close(writer)


def test_the_close_of_the_other_side_calls_back(loop: SelectLoop):
    reader, writer = os.pipe()
    seen: list[bytes] = []
    loop.watch(reader, lambda: seen.append(os.read(reader, 10)))
    os.close(writer)
    loop.turn(1)
    assert seen == [b""]
    loop.unwatch(reader)
    os.close(reader)


def test_a_writable_descriptor_calls_back_until_told_otherwise(loop: SelectLoop):
    import socket

    one, other = socket.socketpair()
    seen: list[int] = []
    loop.watch(one.fileno(), lambda: None)
    loop.watch_writable(one.fileno(), lambda: seen.append(1))
    loop.turn(1)
    assert seen == [1]
    loop.watch_writable(one.fileno(), None)
    loop.turn(0.01)
    assert seen == [1]
    loop.unwatch(one.fileno())
    one.close()
    other.close()


def test_what_is_to_be_written_by_a_writer_does_not_wait_for_an_event(loop: SelectLoop):
    """A handler that is tried at the start of a turn gives another one something to write."""
    import socket

    (one, other), (two, another) = socket.socketpair(), socket.socketpair()

    def write(sock: socket.socket, then: socket.socket | None) -> None:
        sock.send(b"x")
        loop.update_handler(sock.fileno(), loop.READ)
        if then is not None:
            loop.update_handler(then.fileno(), loop.READ | loop.WRITE)

    loop.add_handler(one.fileno(), lambda _fd, _events: write(one, two), loop.READ)
    loop.add_handler(two.fileno(), lambda _fd, _events: write(two, None), loop.READ)
    loop.update_handler(one.fileno(), loop.READ | loop.WRITE)
    loop.turn(1000)
    loop.turn(0)
    assert (other.recv(10), another.recv(10)) == (b"x", b"x")
    for sock in (one, two, other, another):
        loop.unwatch(sock.fileno())
        sock.close()


def test_a_handler_removed_in_the_same_turn_is_not_called(loop: SelectLoop):
    pipes = [os.pipe(), os.pipe()]
    seen: list[int] = []

    def only_me(mine: int) -> None:
        seen.append(mine)
        for reader, _ in pipes:
            loop.unwatch(reader)

    for reader, writer in pipes:
        loop.watch(reader, lambda reader=reader: only_me(reader))
        os.write(writer, b"x")
    loop.turn(1)
    loop.turn(0)
    assert len(seen) == 1
    for fd in (fd for pair in pipes for fd in pair):
        os.close(fd)


def test_an_exception_reaches_the_runner_and_the_rest_is_done_afterwards(loop: SelectLoop):
    seen: list[str] = []

    def fail() -> None:
        raise ZeroDivisionError

    loop.call_soon_threadsafe(fail)
    loop.call_soon_threadsafe(lambda: seen.append("after"))
    loop.call_later(0, lambda: seen.append("timer"))
    with pytest.raises(ZeroDivisionError):
        loop.run()
    loop.turn(0)
    loop.turn(0)
    assert seen == ["after", "timer"]


def test_the_child_of_a_fork_lets_go_without_closing_for_the_parent(loop: SelectLoop):
    reader, writer = os.pipe()
    seen: list[bytes] = []
    loop.watch(reader, lambda: seen.append(os.read(reader, 10)))
    child = os.fork()
    if child == 0:
        loop.abandon()
        os._exit(0 if os.path.samestat(os.fstat(reader), Path(os.devnull).stat()) else 1)
    assert os.waitpid(child, 0)[1] == 0
    os.write(writer, b"parent")
    loop.turn(1)
    assert seen == [b"parent"]
    loop.unwatch(reader)
    os.close(reader)
    os.close(writer)
