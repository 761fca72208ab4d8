"""The server behind health checks and metrics: long answers, errors, and who goes away."""

from __future__ import annotations

import http.client
import socket

import pytest

from amqtask.worker.http_server import Answer, HttpServer, listen

LONG = b"x" * 8_000_000


def respond(path, reply):
    if path == "/at-once":
        raise RuntimeError("no answer")
    reply(lambda: Answer(200, {"/long": LONG}[path]))


@pytest.fixture
def server():
    made = HttpServer(respond, [listen("127.0.0.1:0", "test", shared=False)], "server")
    made.start()
    yield made
    made.stop()


def get(server, path, method="GET"):
    asking = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        asking.request(method, path)
        answer = asking.getresponse()
        return answer.status, answer.getheader("Content-Length"), answer.read()
    finally:
        asking.close()


def test_an_answer_longer_than_a_buffer_arrives_whole(server):
    assert get(server, "/long") == (200, str(len(LONG)), LONG)
    assert get(server, "/long", "HEAD") == (200, str(len(LONG)), b"")


@pytest.mark.parametrize("path", ["/at-once", "/in-the-answer"])
def test_an_error_is_an_answer_and_ends_nothing(server, path, caplog):
    status, _, text = get(server, path)
    assert (status, text) == (
        500,
        b"RuntimeError('no answer')\n" if path == "/at-once" else b"KeyError('/in-the-answer')\n",
    )
    assert "was not answered" in caplog.text
    assert get(server, "/long")[0] == 200


def test_whoever_hangs_up_amid_an_answer_is_forgotten(server):
    with socket.create_connection(("127.0.0.1", server.port), 5) as peer:
        peer.sendall(b"GET /long HTTP/1.1\r\n\r\n")
        assert peer.recv(1)
    assert get(server, "/long")[0] == 200
