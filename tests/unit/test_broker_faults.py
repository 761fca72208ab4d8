"""What brokers say, as readable errors."""

from __future__ import annotations

import pytest

from amqtask.broker import faults
from amqtask.broker.frames import PublishFrames
from amqtask.broker.pika_internals import fast_publishing_works, fast_reading_works
from amqtask.broker.version import read_version
from amqtask.errors import AccessRefused, BrokerError, BrokerUnavailable, InequivalentArguments, TopologyError


@pytest.mark.parametrize(
    ("text", "argument", "wanted", "existing"),
    [
        (
            "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': "
            "received the value '5000' of type 'signedint' but current is '1000' of type 'signedint'",
            "x-message-ttl",
            "5000",
            "1000",
        ),
        (
            "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q' in vhost '/': "
            "received the value '3' of type 'signedint' but current is none",
            "x-max-length",
            "3",
            "none",
        ),
        (
            "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': "
            "received none but current is the value 'quorum' of type 'longstr'",
            "x-queue-type",
            "none",
            "quorum",
        ),
        (
            "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost 'a:b': "
            "received 'false' but current is 'true'",
            "durable",
            "false",
            "true",
        ),
    ],
)
def test_a_difference_of_arguments_is_taken_apart(text: str, argument: str, wanted: str, existing: str):
    error = faults.declare_refused(406, text, "queue 'q'")
    assert isinstance(error, InequivalentArguments)
    assert (error.kind, error.name, error.argument, error.wanted, error.existing) == (
        "queue",
        "q",
        argument,
        wanted,
        existing,
    )


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (403, "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'u'", AccessRefused),
        (404, "NOT_FOUND - no exchange 'x' in vhost '/'", TopologyError),
        (404, "NOT_FOUND - no queue 'q' in vhost '/'", TopologyError),
        (404, "NOT_FOUND - home node 'r@b' of durable queue 'q' in vhost '/' is down", BrokerError),
        (404, "NOT_FOUND - queue 'q' in vhost '/' process is stopped by supervisor", BrokerError),
        (406, "PRECONDITION_FAILED - invalid arg 'x-foo' for queue 'q'", TopologyError),
        (0, "503 COMMAND_INVALID - unknown exchange type 'x-odd'", TopologyError),
        (0, "connection reset", BrokerUnavailable),
    ],
)
def test_a_refused_declaration_names_its_subject(code: int, text: str, kind: type[Exception]):
    error = faults.declare_refused(code, text, "queue 'q'")
    assert type(error) is kind
    assert "queue 'q'" in str(error)


@pytest.mark.parametrize(
    ("code", "text", "exchange"),
    [
        (404, "NOT_FOUND - no exchange 'shop.x' in vhost '/'", "shop.x"),
        (403, "ACCESS_REFUSED - access to exchange 'amq.default' in vhost '/' refused for user 'u'", ""),
        (406, "PRECONDITION_FAILED - invalid expiration 'abc'", None),
        (541, "INTERNAL_ERROR", None),
    ],
)
def test_the_culprit_of_a_closed_channel_is_read_from_the_text(code: int, text: str, exchange: str | None):
    assert faults.culprit_exchange(code, text) == exchange


def test_the_limit_of_a_too_large_message_is_read_from_the_text():
    for kind in ("max size", "configured max size"):
        text = f"PRECONDITION_FAILED - message size 16777217 is larger than {kind} 16777216"
        assert faults.culprit_size(text) == 16777216


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("3.10.8", (3, 10, 8)),
        ("4.0.5", (4, 0, 5)),
        ("4.1.0-beta.3", (4, 1, 0)),
        ("3.13.7+2", (3, 13, 7)),
        ("4", (4, 0, 0)),
        ("", (0, 0, 0)),
    ],
)
def test_the_version_is_read(text: str, version: tuple[int, int, int]):
    found = read_version({"product": "RabbitMQ", "version": text})
    assert (found.major, found.minor, found.patch) == version


def test_a_broker_that_says_nothing_of_itself_is_survived():
    assert str(read_version(None)) == "RabbitMQ 0.0.0"


def test_our_frames_are_those_of_the_installed_pika():
    assert fast_publishing_works()


def test_our_reader_of_deliveries_agrees_with_the_installed_pika():
    assert fast_reading_works()


@pytest.mark.parametrize("size", [0, 1, 4088, 4089, 8176, 8177])
def test_a_body_is_cut_into_frames_of_the_right_size(size: int):
    from pika import frame

    out: list[bytes] = []
    PublishFrames(3, 4096).add(out, "", "q", b"\x00\x00", b"b" * size)
    data, sizes = b"".join(out), []
    while data:
        used, found = frame.decode_frame(data)
        assert used <= 4096
        data = data[used:]
        if isinstance(found, frame.Body):
            sizes.append(len(found.fragment))
    assert sum(sizes) == size
    assert all(sizes)
