"""The broker in a thread: quick to start, nothing left behind, and no trouble for forked children."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from dev_clients import bodies, opened
from pika.exceptions import AMQPConnectionError, ProbableAuthenticationError
from waiting import wait_for

from amqtask.testing.devbroker import ControlClient, DevBroker
from amqtask.testing.devbroker.commands import Commands
from amqtask.testing.devbroker.facade import Facade


def descriptors() -> set[str]:
    """What is open in this process: sockets by their inode."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.add(str(link.readlink()))
        except OSError:
            continue  # the listing's own
    return {target for target in found if target.startswith(("socket:", "anon_inode:[eventpoll]"))}


def test_it_starts_within_30_ms():
    with DevBroker():
        pass  # imports are done

    def starts() -> bool:
        begin = time.perf_counter()
        with DevBroker():
            return time.perf_counter() - begin < 0.03

    wait_for(starts)  # soon, however busy the machine is


def test_stopping_closes_every_socket_thread_and_loop():
    gc.collect()
    before, threads = descriptors(), threading.active_count()
    broker = DevBroker().start()
    with opened(broker.url) as channel, opened(broker.url):
        channel.queue_declare("q", exclusive=True)
        channel.basic_consume("q", lambda *_: None)
        with socket.create_connection(("127.0.0.1", broker.port)) as silent:  # never says a word
            wait_for(lambda: len(broker.connections()) == 3)
            broker.stop()
            assert silent.recv(1) == b""
    broker.stop()  # a second time does nothing
    gc.collect()
    assert threading.active_count() <= threads
    assert descriptors() <= before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", broker.port))
    with pytest.raises(RuntimeError, match="not running"):
        broker.vhosts()


def test_it_can_be_started_again_on_its_port_and_is_empty_then():
    broker = DevBroker(vhosts=("/", "mine"))
    with broker:
        port = broker.port
        with opened(broker.url) as channel:
            channel.queue_declare("q")
    with broker:
        assert broker.port == port
        assert broker.vhosts() == ["/", "mine"]
        assert broker.queues("/") == []


def test_a_taken_port_is_an_error_and_leaves_nothing_open():
    with DevBroker() as broker, pytest.raises(OSError, match="Address already in use"):
        DevBroker(port=broker.port).start()
    gc.collect()


def test_only_this_machine_is_served_unless_told_otherwise():
    with DevBroker() as broker, socket.create_connection(("127.0.0.1", broker.port)) as client:
        assert client.getpeername()[0] == "127.0.0.1"
        addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
        for address in addresses - {"127.0.0.1"}:
            if not address.startswith("127."):
                with pytest.raises(OSError):
                    socket.create_connection((address, broker.port), 1)


def test_users_and_vhosts_of_ones_own():
    with DevBroker(vhosts=(), users={"ann": "s/cret"}) as broker:
        broker.add_vhost("a/b")
        broker.add_vhost("a/b")
        with opened(broker.vhost_url("a/b")) as channel:
            channel.queue_declare("q")
            assert [(one["user"], one["vhost"]) for one in broker.connections()] == [("ann", "a/b")]
        with pytest.raises(ProbableAuthenticationError), opened(f"amqp://guest:guest@127.0.0.1:{broker.port}/a%2Fb"):
            pass
        broker.delete_vhost("a/b")
        assert broker.vhosts() == []
        with pytest.raises(AMQPConnectionError), opened(broker.vhost_url("a/b")):
            pass


def test_deleting_a_vhost_closes_its_connections_and_gives_its_memory_back():
    with DevBroker(vhosts=("gone",)) as broker:
        with opened(broker.vhost_url("gone")) as channel:
            channel.queue_declare("q")
            channel.basic_publish("", "q", b"x" * 1000)
            assert broker.memory()["used"] > 1000
            broker.delete_vhost("gone")
            with pytest.raises(AMQPConnectionError, match="vhost 'gone' is deleted"):
                channel.queue_declare("q")
        assert broker.memory()["used"] == 0


def test_many_vhosts_leave_nothing_behind():
    with DevBroker(vhosts=()) as broker:

        def one(number: int) -> None:
            broker.add_vhost(f"v{number}")
            with opened(broker.vhost_url(f"v{number}")) as channel:
                channel.queue_declare("q", arguments={"x-expires": 60_000})
                channel.basic_publish("", "q", b"x")
                channel.basic_consume("q", lambda *_: None)
            broker.delete_vhost(f"v{number}")

        def objects() -> int:
            gc.collect()
            return len(gc.get_objects())

        for number in range(10):
            one(number)
        before = objects()
        for number in range(60):
            one(number)
        assert objects() - before < 60  # less than one for each


def test_commands_may_come_from_many_threads_and_from_the_brokers_own():
    lines: list[str] = []
    answers: list[list[str]] = []

    def trace(line: str) -> None:
        lines.append(line)
        answers.append(broker.vhosts())  # on the broker's thread

    broker = DevBroker(trace=trace)
    with broker:
        threads = [threading.Thread(target=broker.add_vhost, args=(f"v{number}",)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(broker.vhosts()) == 21
        with opened(broker.url):
            pass
    assert lines
    assert all(len(names) == 21 for names in answers)


def test_a_forked_child_gives_up_the_sockets_and_has_no_broker():
    with DevBroker() as broker, opened(broker.url) as channel:
        pid = os.fork()
        if pid == 0:  # nothing of pytest may run here
            status = 1
            try:
                mine = descriptors()
                broker.stop()
                held = [connection["name"] for connection in broker.connections()] if mine else []
                status = 2 if held else 3
            except RuntimeError:
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        channel.queue_declare("q")  # the parent's goes on


def test_clients_notice_the_end_of_the_broker_while_a_forked_child_lives():
    broker = DevBroker().start()
    with opened(broker.url) as channel:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(writing)
            os.read(reading, 1)  # until the parent lets go
            os._exit(0)
        try:
            broker.stop()
            with pytest.raises(AMQPConnectionError):
                channel.queue_declare("q")
        finally:
            os.close(reading)
            os.close(writing)
            os.waitpid(pid, 0)


def test_a_program_that_never_stops_it_ends_cleanly():
    program = """
        import os, sys
        from amqtask.testing.devbroker import DevBroker
        broker = DevBroker().start()
        broker.add_vhost("x")
        if os.fork() == 0:
            sys.exit(0)
        os.wait()
    """
    run = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_it_may_be_used_beside_a_loop_of_ones_own():
    async def main() -> list[str]:
        with DevBroker() as broker:
            return await asyncio.to_thread(broker.vhosts)

    assert asyncio.run(main()) == ["/"]


def test_every_command_is_a_method_for_users_with_the_same_arguments():
    def public(kind: type) -> dict[str, list[tuple[str, object]]]:
        return {
            name: [(one.name, one.default) for one in inspect.signature(function).parameters.values()]
            for name, function in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_") and name != "run"
        }

    assert public(Facade) == public(Commands)
    assert issubclass(ControlClient, Facade)


def test_importing_the_package_does_not_import_asyncio():
    code = "import sys, amqtask.testing.devbroker; print('asyncio' in sys.modules, 'pika' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]


def test_messages_of_a_lost_client_are_there_for_the_next_one():
    with DevBroker() as broker:
        with opened(broker.url) as channel:
            channel.queue_declare("q")
            for body in (b"1", b"2"):
                channel.basic_publish("", "q", body)
            channel.basic_get("q")
        with opened(broker.url) as channel:
            assert bodies(channel, "q") == [b"1", b"2"]
