"""Many threads on one connection: leader and followers, signals, forks, idle time."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count

import pytest
from interrupts import inside, interrupted, signalled
from nodes import Node
from publishing import OPTIONS, declare, drain, message, transport
from waiting import wait_for

from amqtask.broker.publisher import Publisher
from amqtask.broker.shared_loop import SharedLoop
from amqtask.broker.sync import SyncTransport
from amqtask.errors import AmqtaskError, BrokerError, Unroutable

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def sender(vhost_url: str) -> Iterator[SyncTransport]:
    declare(vhost_url, "q")
    made = transport(vhost_url)
    yield made
    made.close()


def test_sixteen_threads_send_at_once(sender: SyncTransport, vhost_url: str):
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(50):
                sender.send(message("q", f"{name}.{number}"), timeout=60)
                if number % 10 == 0:
                    with pytest.raises(Unroutable):
                        sender.send(message("nowhere"), timeout=60)
            assert sender.send_many([message("q", f"{name}.many.{n}") for n in range(100)], timeout=60) == {}
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(str(number),)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    expected = {f"{t}.{n}" for t in range(16) for n in range(50)} | {
        f"{t}.many.{n}" for t in range(16) for n in range(100)
    }
    assert drain(vhost_url, "q") == Counter(expected)


def test_a_small_batch_does_not_wait_for_a_huge_one(sender: SyncTransport):
    huge_done = threading.Event()

    def huge() -> None:
        sender.send_many([message("q", body=b"x" * 500)] * 30_000, timeout=60)
        huge_done.set()

    thread = threading.Thread(target=huge)
    thread.start()
    sender.send_many([message("q")] * 20, timeout=60)
    overtaken = not huge_done.is_set()
    thread.join(60)
    assert overtaken


def test_threads_share_one_connection(sender: SyncTransport, vhost_url: str, broker_node: Node):
    named = transport(vhost_url, replace(OPTIONS, name="shared-by-threads"))
    threads = [threading.Thread(target=named.send, args=(message("q"),), kwargs={"timeout": 10}) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    wait_for(lambda: broker_node.connections("shared-by-threads") == 1, timeout=60)  # each look starts a program
    named.close()


def test_an_idle_connection_is_kept_by_heartbeats(vhost_url: str):
    declare(vhost_url, "q")
    sender = transport(vhost_url, replace(OPTIONS, heartbeat=2))
    sender.send(message("q", "first"), timeout=60)
    engine = sender._engine
    assert engine is not None
    connection = engine.publisher._link.connection
    deadline = time.monotonic() + 9  # the broker closes after two missed intervals
    wait_for(lambda: time.monotonic() > deadline, timeout=15, interval=0.5)
    sender.send(message("q", "second"), timeout=60)
    assert engine.publisher._link.connection is connection
    sender.close()
    assert drain(vhost_url, "q") == Counter(first=1, second=1)


def test_the_child_of_a_fork_publishes_on_a_connection_of_its_own(sender: SyncTransport, vhost_url: str):
    sender.send(message("q", "before"), timeout=60)
    children = []
    for number in range(3):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                sender.send(message("q", f"child {number}"), timeout=60)
                sender.close()
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    for number in range(20):
        sender.send(message("q", f"parent {number}"), timeout=60)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    sender.send(message("q", "after"), timeout=60)
    expected = {"before", "after", *(f"child {n}" for n in range(3)), *(f"parent {n}" for n in range(20))}
    assert drain(vhost_url, "q") == Counter(expected)


def test_a_fork_while_other_threads_send_harms_neither_side(sender: SyncTransport, vhost_url: str):
    stop = threading.Event()
    sent: list[str] = []

    def work(name: int) -> None:
        number = 0
        while not stop.is_set():
            sender.send(message("q", f"{name}.{number}"), timeout=60)
            sent.append(f"{name}.{number}")
            number += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(sent) > 40)
    for number in range(3):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                sender.send(message("q", f"child {number}"), timeout=60)
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
    stop.set()
    for thread in threads:
        thread.join(60)
    found = drain(vhost_url, "q")
    assert set(found) == {*sent, "child 0", "child 1", "child 2"}


def test_an_interrupted_leader_leaves_the_others_with_an_answer(sender: SyncTransport, vhost_url: str):
    """An exception raised by a signal in the thread that drives the connection, as Ctrl-C does."""
    answers: list[object] = []
    leads, going = inside(SharedLoop._drive), threading.Event()

    def work() -> None:
        while going.is_set():
            try:
                sender.send(message("q", "other"), timeout=30)
                answers.append(None)
            except AmqtaskError as error:
                answers.append(error)

    for _ in range(5):
        threads = [threading.Thread(target=work) for _ in range(3)]

        def serves_others(threads: list[threading.Thread] = threads) -> bool:
            if leads() and not going.is_set():
                going.set()
                answers.clear()
                for thread in threads:
                    thread.start()
            return going.is_set() and len(answers) > 10

        with interrupted(serves_others):
            sender.run(lambda _publisher, _finish: None)  # leads until it is interrupted
        seen = len(answers)
        wait_for(lambda seen=seen: len(answers) > seen + 10)
        going.clear()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
    sender.send(message("q", "after"), timeout=30)
    assert drain(vhost_url, "q")["after"] == 1


def test_an_interrupted_connection_leaves_no_open_socket_behind(sender: SyncTransport):
    drives = inside(SharedLoop._drive)
    for _ in range(5):
        with interrupted(lambda: drives() and sender.publisher is not None and sender.publisher.connected):
            while True:
                sender.send(message("q", "mine"), timeout=60)
    sender.send(message("q"), timeout=60)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


def test_a_close_harms_no_thread_that_sends_meanwhile(sender: SyncTransport, vhost_url: str):
    failures: list[BaseException] = []
    stop = threading.Event()
    sent: list[str] = []

    def work(name: int) -> None:
        for number in count():
            if stop.is_set():
                return
            try:
                sender.send(message("q", f"{name}.{number}"), timeout=60)
            except BaseException as error:
                failures.append(error)
            sent.append(f"{name}.{number}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        seen = len(sent)
        wait_for(lambda seen=seen: len(sent) > seen, timeout=30, interval=0.001)
        sender.close()
    stop.set()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert failures == []
    assert drain(vhost_url, "q") == Counter(sent)


@pytest.mark.parametrize("when", ["before", "while", "after"])
def test_a_message_for_a_connection_that_is_being_closed_takes_the_next_one(
    vhost_url: str, when: str, monkeypatch: pytest.MonkeyPatch
):
    """``when`` the other thread, which has got hold of the connection already, comes to use it."""
    declare(vhost_url, "q")
    sender = transport(vhost_url)
    sender.send(message("q", "first"), timeout=60)
    arrived, go_on = threading.Event(), threading.Event()
    running, stop = SyncTransport._running, Publisher.stop

    def running_slowly(self: SyncTransport):
        engine = running(self)
        if threading.current_thread() is thread and not arrived.is_set():
            arrived.set()
            assert go_on.wait(60)
        return engine

    def stop_slowly(self: Publisher, on_stopped: Callable[[], None]) -> None:
        if when == "while" and not go_on.is_set():
            go_on.set()
            wait_for(lambda: self.loop._calls, timeout=60)  # the other thread has handed over its message
        stop(self, on_stopped)

    monkeypatch.setattr(SyncTransport, "_running", running_slowly)
    monkeypatch.setattr(Publisher, "stop", stop_slowly)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            sender.send(message("q", "second"), timeout=60)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert arrived.wait(60)
    if when == "before":
        go_on.set()
    sender.close()
    go_on.set()
    thread.join(60)
    sender.close()
    assert (failures, thread.is_alive()) == ([], False)
    assert drain(vhost_url, "q") == Counter(first=1, second=1)


def test_publishing_from_a_signal_handler_that_interrupted_a_publish_fails_instead_of_hanging(
    sender: SyncTransport,
):
    seen: list[object] = []

    def handler() -> None:
        try:
            sender.send(message("q", "from the handler"), timeout=30)
            seen.append(None)
        except BrokerError as error:
            seen.append(error)

    while not any(seen):  # now and then the message is sent before the signal is handled
        with signalled(handler, inside(SharedLoop.run)):
            sender.send(message("q", "mine"), timeout=30)
    assert any("signal handler" in str(error) for error in seen if error)
    sender.send(message("q", "after"), timeout=60)


def test_the_transport_works_at_interpreter_exit_of_a_threaded_program(vhost_url: str):
    import subprocess
    import textwrap

    declare(vhost_url, "q")
    program = textwrap.dedent(f"""
        import sys, threading; sys.path.insert(0, {str(next(p for p in sys.path if p.endswith("tests")))!r})
        from publishing import message, transport
        sender = transport({vhost_url!r})
        def work(name):
            for number in range(100):
                sender.send(message("q", f"{{name}}.{{number}}"), timeout=60)
        for name in range(4):
            threading.Thread(target=work, args=(name,)).start()
    """)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert drain(vhost_url, "q") == Counter(f"{name}.{number}" for name in range(4) for number in range(100))
