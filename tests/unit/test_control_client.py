"""The methods of ``app.control`` and of results, without a worker: what is sent."""

from __future__ import annotations

import json

import pytest

from amqtask import Amqtask, Queue
from amqtask.errors import Unroutable


class Sent:
    """A transport that keeps what it gets; nobody listens to remote control."""

    def __init__(self) -> None:
        self.messages = []
        self.declared = 0

    def send(self, message, *, timeout):
        self.messages.append(message)
        if message.exchange:
            raise Unroutable("nobody")

    def declare(self, layout):
        self.declared += 1

    def requests(self):
        return [json.loads(one.body) for one in self.messages if one.exchange]

    def entries(self):
        return [json.loads(one.body) for one in self.messages if not one.exchange]


@pytest.fixture
def app():
    app = Amqtask("tests", broker="amqp://nowhere", task_queues=[Queue("work")])
    app.use_transport(Sent())
    return app


def test_a_revocation_is_kept_before_workers_are_told(app):
    app.control.revoke("id1", terminate=True, signal="SIGKILL")
    kept, told = app.transport.messages
    assert json.loads(kept.body)["ids"] == ["id1"]
    assert json.loads(told.body)["arguments"] == {
        "task_id": "id1", "terminate": True, "signal": "SIGKILL", "kept": True,
    }  # fmt: skip


def test_declarations_are_made_once(app):
    for _ in range(3):
        app.control.revoke("id1")
    assert app.transport.declared == 2


def test_results_revoke_by_their_ids(app):
    app.AsyncResult("id1").revoke(terminate=True)
    app.GroupResult("g", [app.AsyncResult("a"), app.AsyncResult("b")]).revoke()
    assert [entry["ids"] for entry in app.transport.entries()] == [["id1"], ["a", "b"]]
    first, second = (request["arguments"] for request in app.transport.requests())
    assert (first["terminate"], first["signal"]) == (True, "SIGTERM")
    assert (second["task_id"], second["terminate"]) == (["a", "b"], False)


def test_stamps_are_lists_of_texts(app):
    app.control.revoke_by_stamped_headers({"user": 7, "batch": ["x", "y"]})
    (entry,) = app.transport.entries()
    assert entry["stamps"] == {"user": ["7"], "batch": ["x", "y"]}


@pytest.mark.parametrize(
    ("call", "method", "arguments"),
    [
        (lambda c: c.rate_limit("t", "10/m"), "rate_limit", {"task_name": "t", "rate_limit": "10/m"}),
        (lambda c: c.time_limit("t", soft=60, hard=120), "time_limit", {"task_name": "t", "hard": 120, "soft": 60}),
        (lambda c: c.pool_grow(2), "pool_grow", {"n": 2}),
        (lambda c: c.autoscale(5, 1), "autoscale", {"max": 5, "min": 1}),
        (lambda c: c.cancel_consumer("q"), "cancel_consumer", {"queue": "q"}),
        (lambda c: c.shutdown(), "shutdown", {}),
        (lambda c: c.broadcast("own", {"a": 1}, b=2), "own", {"a": 1, "b": 2}),
        (
            lambda c: c.add_consumer("q"),
            "add_consumer",
            {"queue": "q", "exchange": None, "exchange_type": "direct", "routing_key": None},
        ),
    ],
)
def test_a_method_sends_celery_s_command(app, call, method, arguments):
    assert call(app.control) is None
    (request,) = app.transport.requests()
    assert (request["method"], request["arguments"], request["destination"]) == (method, arguments, None)
    assert "reply_to" not in request


def test_a_destination_may_be_a_single_name(app):
    app.control.shutdown(destination="w1@h")
    app.control.shutdown(destination=["w1@h", "w2@h"])
    assert [request["destination"] for request in app.transport.requests()] == [["w1@h"], ["w1@h", "w2@h"]]
