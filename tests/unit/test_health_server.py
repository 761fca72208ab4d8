"""Health over HTTP and on a Unix socket: what is answered, also when the I/O loop is frozen."""

from __future__ import annotations

import json
import os
import resource
import socket
import threading
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace

import pytest
from waiting import wait_for

from amqtask import clock
from amqtask.broker.loop import SelectLoop
from amqtask.errors import ConfigError
from amqtask.worker import http_server
from amqtask.worker.health.server import FROZEN, Health, HealthServer, verdict
from amqtask.worker.http_server import address
from amqtask.worker.pools.threads import ThreadPool
from amqtask.worker.steps.health import HealthChecks

pytestmark = pytest.mark.usefixtures("patient_http")


class Worker:
    """An I/O loop in a thread, and what it says of itself."""

    def __init__(self) -> None:
        self.loop, self.state = SelectLoop(), Health()
        self.thread = threading.Thread(target=self.loop.run)
        self.thread.start()

    def ask(self, answer) -> None:
        self.loop.call_soon_threadsafe(lambda: answer(self.state))

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture
def worker():
    made = Worker()
    yield made
    made.close()


@pytest.fixture
def server(worker):
    folder = mkdtemp(prefix="amqtask-")  # a socket's path must be short
    made = HealthServer(worker.ask, "127.0.0.1:0", f"{folder}/w.pid.health")
    made.start()
    yield made
    made.stop()
    Path(folder).rmdir()  # and nothing is left in it


def ask(peer: socket.socket, request: str) -> tuple[int, str]:
    with peer:
        peer.settimeout(30)
        peer.sendall(request.encode())
        answer = b"".join(iter(lambda: peer.recv(4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["status"] if b"/json" in head else body.decode()


def get(server: HealthServer, path: str) -> tuple[int, str]:
    return ask(socket.create_connection(("127.0.0.1", server.port)), f"GET {path} HTTP/1.1\r\n\r\n")


def at_path(server: HealthServer) -> tuple[int, str]:
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(server._path)
    return ask(peer, "GET /livez HTTP/1.1\r\n\r\n")


def test_a_worker_that_is_well_is_live_and_ready(server):
    assert get(server, "/livez") == (200, "live")
    assert get(server, "/startupz") == (200, "live")
    assert get(server, "/readyz?verbose=1") == (200, "ready")


def test_a_broker_that_is_away_makes_it_unready_but_leaves_it_live(worker, server):
    worker.state = Health("", "no connection to the broker")
    assert get(server, "/livez")[0] == 200
    assert get(server, "/readyz") == (503, "no connection to the broker")


def test_the_same_is_told_on_the_socket_beside_the_pidfile(worker, server):
    worker.state = Health("it is broken", "it is broken")
    assert at_path(server) == (503, "it is broken")


def test_a_frozen_loop_is_neither_live_nor_ready(worker, server, monkeypatch):
    monkeypatch.setattr(http_server, "PATIENCE", 0.1)
    thaw = threading.Event()
    worker.loop.call_soon_threadsafe(thaw.wait)
    try:
        assert get(server, "/livez") == (503, FROZEN.broken)
        assert get(server, "/readyz")[0] == 503
    finally:
        thaw.set()
    wait_for(lambda: get(server, "/livez")[0] == 200)


@pytest.mark.parametrize(
    ("request_", "status"),
    [("GET / HTTP/1.1\r\n\r\n", 404), ("POST /livez HTTP/1.1\r\n\r\n", 405), ("\r\n\r\n", 405), ("GET\n\n", 404)],
)
def test_other_questions_get_an_answer_too(server, request_, status):
    assert ask(socket.create_connection(("127.0.0.1", server.port)), request_)[0] == status


def test_whoever_asks_nothing_is_not_waited_for_by_others(server):
    with socket.create_connection(("127.0.0.1", server.port)) as silent:
        silent.sendall(b"GET /li")
        assert get(server, "/livez")[0] == 200
    with socket.create_connection(("127.0.0.1", server.port)) as endless:
        endless.settimeout(30)
        endless.sendall(b"x" * 5000)
        assert endless.recv(1) == b""


def test_without_descriptors_who_asks_is_let_in_later_and_no_cpu_is_burnt(server, monkeypatch):
    monkeypatch.setattr(http_server, "PATIENCE", 0.1)
    serving, tries = server._server, []
    accept = serving._accept
    monkeypatch.setattr(serving, "_accept", lambda listener: (tries.append(1), accept(listener)))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as asking:
        asking.settimeout(0.2)
        lowest = os.dup(asking.fileno())
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
        began = clock.monotonic()
        try:
            asking.connect(("127.0.0.1", server.port))
            with pytest.raises(TimeoutError):
                asking.recv(1)
            wait_for(lambda: tries)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert len(tries) <= 2 + (clock.monotonic() - began) / http_server.PATIENCE
        assert ask(asking, "GET /livez HTTP/1.1\r\n\r\n") == (200, "live")


def test_a_port_that_another_process_has_is_refused(server, worker):
    with pytest.raises(ConfigError, match=f"another process listens on 127.0.0.1:{server.port}"):
        HealthServer(worker.ask, f"127.0.0.1:{server.port}")


def test_a_successor_shares_port_and_path_and_keeps_them(worker, server):
    successor = HealthServer(worker.ask, f"127.0.0.1:{server.port}", server._path, shared=True)
    successor.start()
    successor.take_path()
    successor.take_path()  # at each reconnect
    server.stop()
    assert get(successor, "/livez")[0] == 200
    assert at_path(successor) == (200, "live")
    successor.stop()


def test_a_successor_that_fails_leaves_the_path_to_the_worker_before_it(worker, server):
    successor = HealthServer(worker.ask, f"127.0.0.1:{server.port}", server._path, shared=True)
    successor.start()
    successor.stop()
    assert at_path(server) == (200, "live")
    assert [one.name for one in Path(server._path).parent.iterdir()] == ["w.pid.health"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [(":8080", ("", 8080)), ("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:80", ("::1", 80)), (" h:1 ", ("h", 1))],
)
def test_addresses(text, expected):
    assert address(text, "worker_health") == expected


@pytest.mark.parametrize("text", ["8080", ":", ":port", ":70000", "::1:80"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ConfigError, match="^worker_health: .* write :8080"):
        address(text, "worker_health")


def test_unknown_paths_are_not_found():
    assert verdict("/metrics", Health())[0] == 404


def test_a_worker_that_was_replaced_answers_no_more():
    settings = SimpleNamespace(worker_health="127.0.0.1:0")
    worker = SimpleNamespace(
        app=SimpleNamespace(settings=settings), options=SimpleNamespace(health_socket=None), pool=ThreadPool,
        predecessor=None, successor=None,
    )  # fmt: skip
    replaced, ending = (HealthChecks(worker), HealthChecks(worker))  # type: ignore[arg-type]
    for step in (replaced, ending):
        step.start()
    ports = [step._server.port for step in (replaced, ending)]
    ending.stopping()
    worker.successor = 7
    replaced.stopping()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", ports[0]), 5)
    socket.create_connection(("127.0.0.1", ports[1]), 5).close()
    for step in (replaced, ending):
        step.stop(lambda: None)
