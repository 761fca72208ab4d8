"""Blocking publishing against a real broker: what is confirmed is there, what is not is told why."""

from __future__ import annotations

import contextlib
import gc
import logging
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from proxy import Proxy
from publishing import OPTIONS, declare, drain, message, transport

from amqtask.broker.sync import SyncTransport
from amqtask.broker.url import parse_urls
from amqtask.errors import (
    AccessRefused,
    BrokerUnavailable,
    EncodeError,
    MessageTooLarge,
    PublishError,
    QueueFull,
    Unroutable,
)
from amqtask.wire.message import Properties

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def sender(vhost_url: str) -> Iterator[SyncTransport]:
    declare(vhost_url, "q")
    made = transport(vhost_url)
    yield made
    made.close()


def test_a_sent_message_is_in_its_queue_with_every_property(sender: SyncTransport, vhost_url: str):
    from amqtask.broker.admin import Admin

    properties = Properties(
        content_type="application/json",
        content_encoding="utf-8",
        headers={"task": "shop.add", "n": 1, "big": 2**40, "none": None, "list": [1, "a"]},
        priority=5,
        correlation_id="c",
        reply_to="r",
        message_id="m",
        timestamp=1_700_000_000,
        type="ty",
        app_id="app",
    )
    sender.send(message("q", properties=properties, body=b"\x00\xffbody"), timeout=60)
    with Admin(parse_urls(vhost_url), OPTIONS) as admin:
        received = admin.get("q")
    assert received is not None
    assert received.properties == properties
    assert received.body == b"\x00\xffbody"


def test_an_empty_body_and_one_of_many_frames_arrive(sender: SyncTransport, vhost_url: str):
    from amqtask.broker.admin import Admin

    bodies = [b"", b"x" * 131_064, b"y" * 131_065, bytes(range(256)) * 4096]
    for body in bodies:
        sender.send(message("q", body=body), timeout=60)
    with Admin(parse_urls(vhost_url), OPTIONS) as admin:
        for body in bodies:
            received = admin.get("q")
            assert received is not None
            assert received.body == body


def test_send_many_confirms_each_in_order(sender: SyncTransport, vhost_url: str):
    sent = [message("q", str(number)) for number in range(2000)]
    assert sender.send_many(sent, timeout=60) == {}
    assert list(drain(vhost_url, "q")) == [str(number) for number in range(2000)]


def test_send_many_tells_the_failed_ones_by_index(sender: SyncTransport, vhost_url: str):
    batch = [message("q", str(number)) for number in range(700)]
    batch[3] = message("nowhere", "lost")
    batch[300] = message("k", "no exchange", exchange="missing")
    batch[400] = message("q", "large", b"x" * (OPTIONS.max_message_size + 1))
    batch[500] = message("q", "float", properties=Properties(headers={"ratio": 0.5}))
    batch[600] = message("q", "invalid", properties=Properties(expiration="soon"))
    errors = sender.send_many(batch, timeout=60)
    assert {index: type(error) for index, error in errors.items()} == {
        3: Unroutable,
        300: Unroutable,
        400: MessageTooLarge,
        500: EncodeError,
        600: PublishError,
    }
    assert set(drain(vhost_url, "q")) == {str(n) for n in range(700)} - {"3", "300", "400", "500", "600"}


def test_nothing_to_send_is_no_error(sender: SyncTransport):
    assert sender.send_many([], timeout=1) == {}


def test_a_message_that_no_queue_takes_is_told_with_its_route(sender: SyncTransport):
    with pytest.raises(Unroutable, match=r"'nowhere'.*default exchange"):
        sender.send(message("nowhere"), timeout=60)
    with pytest.raises(Unroutable, match=r"'some.key'.*'amq.topic'"):
        sender.send(message("some.key", exchange="amq.topic"), timeout=60)


def test_a_missing_exchange_is_told_and_the_connection_goes_on(sender: SyncTransport, vhost_url: str):
    for _ in range(3):
        with pytest.raises(Unroutable, match="no exchange 'missing'"):
            sender.send(message("k", exchange="missing"), timeout=60)
        sender.send(message("q", "fine"), timeout=60)
    assert drain(vhost_url, "q") == Counter(fine=3)


def test_an_internal_exchange_refuses(sender: SyncTransport):
    with pytest.raises(AccessRefused, match="internal exchange"):
        sender.send(message("k", exchange="amq.rabbitmq.trace"), timeout=60)


def test_a_message_that_the_broker_refuses_does_not_take_others_along(sender: SyncTransport):
    with pytest.raises(PublishError, match="invalid expiration"):
        sender.send(message("q", properties=Properties(expiration="soon")), timeout=60)
    with pytest.raises(PublishError, match="user_id"):
        sender.send(message("q", properties=Properties(user_id="somebody")), timeout=60)
    sender.send(message("q"), timeout=60)


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_a_full_queue_is_told(vhost_url: str, kind: str):
    arguments = {"x-queue-type": kind, "x-max-length": 2, "x-overflow": "reject-publish"}
    declare(vhost_url, "small", arguments=arguments)
    sender = transport(vhost_url)
    sender.send_many([message("small")] * 10, timeout=60)  # a quorum queue takes one more than its limit
    with pytest.raises(QueueFull, match="limit"):
        sender.send(message("small"), timeout=60)
    sender.close()


def test_what_is_too_large_is_refused_before_anything_is_sent(sender: SyncTransport, vhost_url: str):
    with pytest.raises(MessageTooLarge, match="body"):
        sender.send(message("q", body=b"x" * (OPTIONS.max_message_size + 1)), timeout=60)
    with pytest.raises(MessageTooLarge, match="headers"):
        sender.send(message("q", properties=Properties(headers={"trace": "x" * 140_000})), timeout=60)
    sender.send(message("q", "fits", properties=Properties(headers={"trace": "x" * 120_000})), timeout=60)
    assert drain(vhost_url, "q") == Counter(fits=1)


def test_the_size_limit_of_the_broker_is_told_for_the_culprit_alone(vhost_url: str):
    declare(vhost_url, "q")
    sender = transport(vhost_url, replace(OPTIONS, max_message_size=2**30))
    large = message("q", "large", bytes(135 * 1024 * 1024))  # RabbitMQ 3.10 takes 128 MiB
    errors = sender.send_many([message("q", "1"), large, message("q", "2")], timeout=60)
    sender.close()
    assert [type(error) for error in errors.values()] == [MessageTooLarge]
    assert set(drain(vhost_url, "q")) == {"1", "2"}


def test_a_closed_transport_connects_again(sender: SyncTransport, vhost_url: str):
    sender.send(message("q", "before"), timeout=60)
    sender.close()
    sender.close()
    sender.send(message("q", "after"), timeout=60)
    assert drain(vhost_url, "q") == Counter(before=1, after=1)


def test_wrong_credentials_and_vhost_are_told_at_once_without_the_password(vhost_url: str):
    url = parse_urls(vhost_url)[0]
    for bad, says in (
        (replace(url, password="wr0ng"), "wrong user or password"),
        (replace(url, vhost="missing"), "no vhost 'missing'"),
    ):
        sender = SyncTransport((bad,), OPTIONS)
        with pytest.raises(AccessRefused, match=says) as caught:
            sender.send(message("q"), timeout=30)
        assert "wr0ng" not in str(caught.value)
        with pytest.raises(AccessRefused):
            sender.send_many([message("q")], timeout=30)
        sender.close()


def test_no_broker_is_told_with_its_address_when_the_time_is_over():
    sender = transport("amqp://user:hidden@127.0.0.1:9/")
    told = ""
    for seconds in (0.3, 3.0, 30.0):  # a busy machine may not get so far in less
        with pytest.raises(BrokerUnavailable) as caught:
            sender.send(message("q"), timeout=seconds)
        told = str(caught.value)
        if "127.0.0.1:9: Connection refused" in told:
            break
    assert "127.0.0.1:9: Connection refused" in told
    assert "hidden" not in told
    with pytest.raises(BrokerUnavailable):
        sender.send_many([message("q"), message("q")], timeout=0.3)
    sender.close()


def test_a_host_that_does_not_exist_is_told():
    sender = transport("amqp://broker.invalid/")
    with pytest.raises(BrokerUnavailable, match=r"broker\.invalid"):
        sender.send(message("q"), timeout=1)
    sender.close()


def test_another_broker_is_taken_when_the_first_does_not_answer(vhost_url: str):
    declare(vhost_url, "q")
    sender = transport(f"amqp://127.0.0.1:9/;{vhost_url}")
    sender.send(message("q", "failover"), timeout=60)
    sender.close()
    assert drain(vhost_url, "q") == Counter(failover=1)


def test_something_that_is_no_broker_is_told():
    with Proxy("127.0.0.1", 9) as proxy:
        proxy.refuse()
        sender = transport(f"amqp://127.0.0.1:{proxy.port}/")
        with pytest.raises(BrokerUnavailable):
            sender.send(message("q"), timeout=0.5)
        sender.close()


def test_a_program_that_does_not_close_ends_cleanly(vhost_url: str):
    declare(vhost_url, "q")
    program = textwrap.dedent(f"""
        import sys; sys.path.insert(0, {str(next(p for p in sys.path if p.endswith("tests")))!r})
        from publishing import message, transport
        sender = transport({vhost_url!r})
        sender.send(message("q", "last words"), timeout=60)
    """)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert drain(vhost_url, "q") == Counter({"last words": 1})


def test_losing_a_connection_writes_no_tracebacks(vhost_url: str, caplog: pytest.LogCaptureFixture):
    declare(vhost_url, "q")
    port = parse_urls(vhost_url)[0].port
    with caplog.at_level(logging.DEBUG, "amqtask"), Proxy("127.0.0.1", port) as proxy:
        sender = transport(proxy.url(vhost_url))
        sender.send(message("q"), timeout=60)
        proxy.cut()
        sender.send(message("q"), timeout=60)
        sender.close()
    assert not [record for record in caplog.records if record.exc_info]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_transport_that_is_dropped_stops_its_keeper(vhost_url: str):
    import threading

    from waiting import wait_for

    declare(vhost_url, "q")
    sender = transport(vhost_url, replace(OPTIONS, heartbeat=1))
    sender.send(message("q"), timeout=60)
    keepers = [thread for thread in threading.enumerate() if thread.name == "amqtask-keeper"]
    sender.close()
    del sender
    with contextlib.suppress(ReferenceError):
        gc.collect()
    wait_for(lambda: not any(thread.is_alive() for thread in keepers[-1:]))
