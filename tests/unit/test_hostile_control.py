"""What strangers may write where workers read must not end their I/O thread, nor keep it from consuming."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from pika.exceptions import NoFreeChannels
from signing_settings import PLAIN, keyed

from amqtask.broker.pika_driver import PikaConnection, new_loop
from amqtask.broker.url import parse_urls
from amqtask.control.messages import Names, Request, request_message
from amqtask.control.registry import commands
from amqtask.control.tombstones import read
from amqtask.errors import DecodeError, TopologyError
from amqtask.wire.lamport import LamportClock
from amqtask.wire.signing import REQUEST
from amqtask.worker.consumer import Consumers
from amqtask.worker.control.commands import load_commands, queues
from amqtask.worker.control.dispatch import Dispatcher
from amqtask.worker.control.elections import Elections


class Connection:
    """Gives channels that note what is asked of them and answer nothing by themselves."""

    version = SimpleNamespace(product="RabbitMQ")

    def __init__(self):
        self.cancel, self.consumed = None, []

    def open_channel(self, on_open, on_closed):
        on_open(self)

    is_open = True

    def add_on_cancel_callback(self, told):
        self.cancel = told

    def basic_qos(self, prefetch_count):
        pass

    def basic_consume(self, queue, _deliver, *, consumer_tag, arguments, callback):
        self.consumed.append(consumer_tag)
        callback(None)

    def basic_cancel(self, tag, callback):
        callback(SimpleNamespace(method=SimpleNamespace(consumer_tag=tag)))

    def close(self):
        pass


@pytest.fixture
def loop():
    made = new_loop()
    yield made
    made.close()


@pytest.fixture
def consumers(loop):
    ignore = lambda *_: None
    made = Consumers(
        loop, "w@h", lambda _: [], verify_only=False, on_message=ignore, on_open=ignore, on_ready=ignore,
        on_lost=ignore, on_fatal=ignore,
    )  # fmt: skip
    made.add("q", 4, None)
    return made


@pytest.mark.parametrize(
    "arguments",
    [{"queue": "q" * 300}, {"queue": "\ud800"}, {"queue": "q", "exchange": "x" * 300},
     {"queue": "q", "exchange": "x", "routing_key": "\ud800"}, {"queue": "q" * 250}],
    ids=lambda one: str(one)[:40].encode("ascii", "replace").decode(),
)  # fmt: skip
def test_names_that_amqp_can_t_carry_are_refused(arguments):
    load_commands()
    worker = SimpleNamespace(connection=object(), consumers=None)
    panel = SimpleNamespace(app=None, hostname="w1@h", clock=LamportClock(), worker=worker)
    message = request_message(Names("celery"), Request("add_consumer", arguments, reply_to=("reply.celery.pidbox", "")))
    dispatcher = Dispatcher(panel, Names("celery"), ["json"], PLAIN)
    answer = dispatcher.take(message.properties, message.body)
    assert "AttributeError" not in str(json.loads(answer.body)["w1@h"]["error"])


@pytest.mark.parametrize(
    "election", ["\ud800", "é" * 99, "x" * 101, 5], ids=["bytes", "long in bytes", "long", "number"]
)
def test_an_election_whose_name_can_t_be_carried_is_not_held(election, caplog):
    Elections(SimpleNamespace(connection=SimpleNamespace())).hold(election, "task", {})
    assert "can't be held" in caplog.text


def test_a_revocation_until_a_time_beyond_all_floats_is_none():
    with pytest.raises(DecodeError):
        read(b'{"until": 1%s, "ids": [], "stamps": {}}' % (b"0" * 400))


def test_a_repetition_behind_a_blank_is_a_repetition():
    request = Request("m", pattern=r"(?x)([a-z0-9@]+) *!", matcher="pcre")
    assert not request.is_for("w" * 40)


def test_a_connection_that_has_no_free_channel_says_so(loop):
    connection = PikaConnection(parse_urls("amqp://localhost")[0], *[lambda *_: None] * 4)

    def channel(**_):
        raise NoFreeChannels

    connection._loop, connection._pika = loop, SimpleNamespace(is_open=True, channel=channel)
    ends = []
    connection.open_channel(lambda _: None, lambda *end: ends.append(end))
    loop.turn(0)
    assert ends == [(530, "the connection has no free channel")]


def test_a_queue_that_is_stopped_is_not_consumed_again_when_the_broker_has_cancelled_it(consumers, loop):
    connection = Connection()
    consumers.connected(connection)
    assert connection.consumed == ["w@h:q:1"]
    connection.cancel(SimpleNamespace(method=SimpleNamespace(consumer_tag="w@h:q:1")))
    consumers.stop("q", "paused", lambda: None)
    for _ in range(8):
        loop.turn(0.05)
    assert connection.consumed == ["w@h:q:1"]
    consumers.go_on("q", "paused")
    assert connection.consumed == ["w@h:q:1", "w@h:q:2"]


def test_a_queue_that_the_broker_refuses_is_not_declared_with_every_connection_from_then_on(consumers, monkeypatch):
    load_commands()
    refused, asked = [], []
    monkeypatch.setattr(queues, "declare_steps", lambda _connection, _steps, done: refused.append(done))
    monkeypatch.setattr(queues, "own", lambda _: SimpleNamespace(pausing=SimpleNamespace(ask=asked.extend)))
    worker = SimpleNamespace(
        connection=object(), consumers=consumers, add_queue=lambda name: consumers.add(name, 4, None)
    )
    app = SimpleNamespace(settings=SimpleNamespace(topology_mode="none"))
    panel = SimpleNamespace(app=app, hostname="w@h", worker=worker)
    commands["add_consumer"].function(panel, "amq.odd")
    assert consumers.names == ["q", "amq.odd"]
    assert asked == ["amq.odd"], "it may be paused"
    refused.pop()(TopologyError("reserved"))
    assert consumers.names == ["q"]
    consumers.set_prefetch("amq.odd", 9)
    consumers.stop("amq.odd", "paused", lambda: None)
    consumers.go_on("amq.odd", "paused")


@pytest.mark.parametrize("required", [True, False])
def test_a_large_request_is_not_read_before_its_signature_where_one_is_needed(required, caplog):
    load_commands()
    request = Request("ping", {"filler": "x" * 70_000}, reply_to=("reply.celery.pidbox", "oid"))
    message = request_message(Names("celery"), request)
    panel = SimpleNamespace(app=None, hostname="w1@h", clock=LamportClock(), worker=None)
    signer = keyed("k", required=required)
    dispatcher = Dispatcher(panel, Names("celery"), ["json"], signer)
    assert (dispatcher.take(message.properties, message.body) is None) == required
    assert ("message_signing_required is set" in caplog.text) == required
    signed = signer.signed(message, REQUEST)
    assert dispatcher.take(signed.properties, signed.body) is not None
