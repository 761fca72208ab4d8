"""The headers of dead letters, to the byte: x-death and its companions."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest
from amqp_client import QUORUM, Server, put, take, wait_size
from amqp_wire import Field, Wire, header_payload, typed_headers
from pamqp.commands import Basic, Confirm, Queue
from pika.adapters.blocking_connection import BlockingChannel
from waiting import wait_for

KINDS = {"classic": {}, "quorum": QUORUM}


def text(value: str) -> Field:
    return Field("S", value.encode())


def declare(wire: Wire, name: str, kind: str, **arguments: Any) -> None:
    given = {**KINDS[kind], **{key.replace("_", "-"): value for key, value in arguments.items()}}
    wire.call(Queue.Declare(queue=name, durable=True, arguments=given), Queue.DeclareOk)


def publish(wire: Wire, queue: str, body: bytes = b"x", **properties: Any) -> None:
    wire.publish(Basic.Publish(routing_key=queue), header_payload(len(body), Basic.Properties(**properties)), body)


def arrived(wire: Wire, queue: str, no_ack: bool = True) -> Any:
    wait_for(lambda: wire.call(Queue.Declare(queue=queue, passive=True), Queue.DeclareOk).message_count)
    wire.send(Basic.Get(queue=queue, no_ack=no_ack))
    return wire.content(Basic.GetOk)


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_has_these_fields_of_these_types(wire: Wire, server: Server, kind: str) -> None:
    declare(wire, "dead", "classic")
    declare(wire, "q", kind, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
    begin = int(time.time())
    publish(wire, "q", expiration="20", headers={"mine": 1})
    headers = typed_headers(arrived(wire, "dead").header)
    assert headers.pop("mine") == Field("b", 1)
    deaths = headers.pop("x-death")
    assert deaths.type == "A"
    (entry,) = deaths.value
    assert entry.type == "F"
    moment = entry.value.pop("time")
    assert moment.type == "T"
    assert begin <= moment.value <= int(time.time())
    assert entry.value == {
        "count": Field("l", 1),
        "exchange": text(""),
        "original-expiration": text("20"),
        "queue": text("q"),
        "reason": text("expired"),
        "routing-keys": Field("A", [text("q")]),
    }
    latest = {
        "x-last-death-exchange": text(""),
        "x-last-death-queue": text("q"),
        "x-last-death-reason": text("expired"),
    }
    if server.version < (4, 0):
        latest = {}
    assert headers == {
        "x-first-death-exchange": text(""),
        "x-first-death-queue": text("q"),
        "x-first-death-reason": text("expired"),
        **latest,
    }


def test_an_entry_names_exchange_and_all_keys_of_the_publish(channel: BlockingChannel) -> None:
    channel.queue_declare("dead")
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    channel.queue_declare("q", arguments=arguments)
    channel.queue_bind("q", "amq.topic", "#")
    put(channel, "a.b", "x", exchange="amq.topic", headers={"CC": ["c.d", "e"]}, expiration="0")
    (entry,) = take(channel, "dead").headers["x-death"]
    assert entry["exchange"] == "amq.topic"
    assert entry["routing-keys"] == ["a.b", "c.d", "e"]


def test_hidden_keys_stay_hidden(channel: BlockingChannel) -> None:
    channel.queue_declare("dead")
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    channel.queue_declare("q", arguments=arguments)
    put(channel, "q", "x", headers={"BCC": ["secret"]}, expiration="0")
    (entry,) = take(channel, "dead").headers["x-death"]
    assert entry["routing-keys"] == ["q"]


def ladder(channel: BlockingChannel, kind: str) -> None:
    """``work`` rejects to ``wait``, which expires back to ``work``."""
    channel.queue_declare(
        "work",
        durable=True,
        arguments={**KINDS[kind], "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "wait"},
    )
    channel.queue_declare(
        "wait",
        durable=True,
        arguments={
            **KINDS[kind],
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": "work",
            "x-message-ttl": 20,
        },
    )


@pytest.mark.parametrize("kind", KINDS)
def test_passing_the_same_queues_again_counts_on(channel: BlockingChannel, kind: str) -> None:
    ladder(channel, kind)
    put(channel, "work", "x")
    for turn in range(5):
        got = take(channel, "work", ack=False)
        deaths = [(one["queue"], one["reason"], one["count"]) for one in got.headers.get("x-death", [])]
        assert deaths == ([("wait", "expired", turn), ("work", "rejected", turn)] if turn else [])
        channel.basic_reject(got.tag, requeue=False)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_death_is_remembered_and_the_last_one_kept_up_to_date(
    channel: BlockingChannel, server: Server, kind: str
) -> None:
    ladder(channel, kind)
    put(channel, "work", "x")
    for _ in range(2):
        channel.basic_reject(take(channel, "work", ack=False).tag, requeue=False)
    headers = take(channel, "work").headers
    assert [headers[f"x-first-death-{what}"] for what in ("queue", "reason", "exchange")] == ["work", "rejected", ""]
    if server.version >= (4, 0):
        assert [headers[f"x-last-death-{what}"] for what in ("queue", "reason", "exchange")] == ["wait", "expired", ""]


def test_the_same_queue_with_another_reason_is_another_entry(channel: BlockingChannel) -> None:
    channel.queue_declare(
        "q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q", "x-max-length": 5}
    )
    put(channel, "q", "x")
    channel.basic_reject(take(channel, "q", ack=False).tag, requeue=False)
    got = take(channel, "q", ack=False)
    channel.basic_reject(got.tag, requeue=False)
    got = take(channel, "q")
    assert [(one["reason"], one["count"]) for one in got.headers["x-death"]] == [("rejected", 2)]


def test_the_latest_death_comes_first(channel: BlockingChannel, server: Server) -> None:
    names = ["one", "two", "three", "end"]
    for name, following in pairwise(names):
        channel.queue_declare(
            name,
            arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": following, "x-message-ttl": 5},
        )
    channel.queue_declare("end")
    put(channel, "one", "x")
    queues = [one["queue"] for one in take(channel, "end").headers["x-death"]]
    assert queues[0] == "three"
    if server.version >= (4, 0):  # 3.10 keeps the earlier ones in no certain order
        assert queues == ["three", "two", "one"]


@pytest.mark.parametrize("kind", KINDS)
def test_x_death_of_a_client_that_republishes(channel: BlockingChannel, server: Server, kind: str) -> None:
    ladder(channel, kind)
    put(channel, "work", "x")
    channel.basic_reject(take(channel, "work", ack=False).tag, requeue=False)
    again = take(channel, "work")
    channel.basic_publish("", "work", again.body, again.properties)
    got = take(channel, "work", ack=False)
    channel.basic_reject(got.tag, requeue=False)
    counts = [(one["queue"], one["count"]) for one in take(channel, "work").headers["x-death"]]
    # From 4.0 on what clients write is not counted on.
    assert counts == [("wait", 1 if server.version >= (4, 0) else 2), ("work", 1 if server.version >= (4, 0) else 2)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_circle_without_a_rejection_ends(channel: BlockingChannel, kind: str) -> None:
    for name, following in (("a", "b"), ("b", "a")):
        channel.queue_declare(
            name,
            durable=True,
            arguments={
                **KINDS[kind],
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": following,
                "x-message-ttl": 20,
            },
        )
    put(channel, "a", "x")
    for _ in range(3):
        time.sleep(0.1)
        wait_size(channel, "a", 0)
        wait_size(channel, "b", 0)


def test_a_queue_that_is_its_own_target_drops_what_expires(channel: BlockingChannel) -> None:
    channel.queue_declare(
        "q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q", "x-message-ttl": 20}
    )
    put(channel, "q", "x")
    wait_size(channel, "q", 0)


def test_headers_of_every_type_survive_dead_lettering(wire: Wire) -> None:
    declare(wire, "dead", "classic")
    declare(wire, "q", "classic", x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
    wire.call(Confirm.Select(), Confirm.SelectOk)
    publish(wire, "q", expiration="0", headers={"n": 1 << 40, "f": 0.5, "t": {"x": [True, None, bytearray(b"\0")]}})
    wire.expect(Basic.Ack)
    headers = typed_headers(arrived(wire, "dead").header)
    assert headers["n"] == Field("l", 1 << 40)
    assert headers["t"].value["x"].value == [Field("t", True), Field("V", None), Field("x", b"\0")]
