"""What the I/O thread does with a message that has just come."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from amqtask import Amqtask
from amqtask.broker.pika_driver import new_loop
from amqtask.wire.codec import encode, serializers
from amqtask.wire.message import Properties, TaskMessage
from amqtask.wire.signing import Signer
from amqtask.worker.background import THREADS
from amqtask.worker.control.requests import info
from amqtask.worker.engine import Engine
from amqtask.worker.options import WorkerOptions

KEYS = {"message_signing_keys": {"k": "a secret of enough letters"}, "message_signing_key": "k"}
OLD = Properties("application/json", "utf-8", {})
CALL = json.dumps({"task": "t", "id": "i", "args": [1]}).encode()


@pytest.fixture
def arrive():
    loops = []

    def arrived(properties, body, **settings):
        """The delivery that a worker with these settings makes of a message."""
        loops.append(new_loop())
        app = Amqtask("shop", broker="amqp://localhost", **settings)
        options = WorkerOptions(queues=(("amqtask", 1),), pool="solo", concurrency=1, hostname="w@h")
        engine = Engine(app, options, loops[-1], SimpleNamespace(background=THREADS))
        engine.custody.open(SimpleNamespace())
        method = SimpleNamespace(delivery_tag=1, exchange="", routing_key="q", redelivered=False)
        engine._arrive("amqtask", method, properties, body)
        (delivery,) = engine.custody.waiting
        return delivery

    yield arrived
    for loop in loops:
        loop.close()


def test_protocol_1_is_made_protocol_2(arrive):
    assert (arrive(OLD, CALL).name, arrive(OLD, CALL, **KEYS).id) == ("t", "i")


def test_nothing_is_read_before_its_signature_where_signatures_are_required(arrive):
    delivery = arrive(OLD, CALL, **KEYS, message_signing_required=True)
    assert (delivery.name, delivery.properties, delivery.body) == (None, OLD, CALL)


def test_what_waits_is_shown_with_its_arguments_where_they_can_be_read_without_harm(arrive):
    sent, body = encode(TaskMessage("t", "i", (1,)), serializer=serializers.get("json"))
    packed = encode(TaskMessage("t", "i", (1,)), serializer=serializers.get("json"), compression="zlib")

    def shown(properties, body, **settings):
        app = Amqtask("shop", broker="amqp://localhost", **settings)
        return info(SimpleNamespace(app=app, hostname="w@h"), arrive(properties, body, **settings))["args"]

    assert shown(sent, body) == [1]
    assert shown(*packed) == "?", "on the I/O thread, a small body could become a large one"
    required = {**KEYS, "message_signing_required": True}
    assert shown(sent, body, **required) == "?"
    signer = Signer(Amqtask("shop", **required).settings)
    assert shown(signer.sign(sent, body), body, **required) == [1]
