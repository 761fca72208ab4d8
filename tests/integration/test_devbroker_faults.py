"""Faults on demand: each happens exactly as often and where it was ordered, and can be taken back."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator

import aio_pika
import pika
import pytest
from aiormq.exceptions import AMQPException
from dev_clients import bodies, opened
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPConnectionError, ConnectionClosedByBroker, NackError
from waiting import wait_for

from amqtask.testing.devbroker import DevBroker
from amqtask.testing.devbroker.commands import CommandError

WAITS = 0.3
"""Seconds after which something that was held back would have come."""


@pytest.fixture
def broker() -> Iterator[DevBroker]:
    with DevBroker(vhosts=("/", "other")) as started:
        yield started


def confirmed(channel, count: int, *, come: int) -> list[tuple[int, bool]]:
    """The confirms that come for so many messages, as (number, accepted), below pika's own counting.

    Args:
        channel: without confirms yet.
        count: messages to publish.
        come: confirms that are waited for, and a moment longer.
    """
    impl = channel._impl
    seen: list[tuple[int, bool]] = []

    def note(frame) -> None:
        first = seen[-1][0] + 1 if frame.method.multiple and seen else frame.method.delivery_tag
        accepted = frame.method.NAME == "Basic.Ack"
        seen.extend((number, accepted) for number in range(first, frame.method.delivery_tag + 1))

    impl.confirm_delivery(note)
    channel.connection.process_data_events(0.05)
    for number in range(count):
        impl.basic_publish("", "q", str(number).encode())
    wait_for(lambda: channel.connection.process_data_events(0.02) or len(seen) >= come)
    channel.connection.sleep(WAITS)
    return seen


def test_a_dropped_confirm_never_comes_and_the_message_is_there(broker: DevBroker):
    with opened(broker.url, confirm=False) as channel:
        channel.queue_declare("q")
        broker.drop_confirms(2)
        assert sorted(confirmed(channel, 4, come=2)) == [(3, True), (4, True)]
        assert bodies(channel, "q") == [b"0", b"1", b"2", b"3"]


def test_a_delayed_confirm_comes_when_the_clock_says_so(broker: DevBroker):
    broker.delay_confirms(60)
    with opened(broker.url, confirm=False) as channel:
        channel.queue_declare("q")
        assert confirmed(channel, 2, come=0) == []
        seen: list[int] = []
        channel._impl.add_callback(lambda frame: seen.append(frame.method.delivery_tag), [pika.spec.Basic.Ack], False)
        broker.advance(61)
        wait_for(lambda: channel.connection.process_data_events(0.02) or len(seen) == 2)
        assert sorted(seen) == [1, 2]


def test_a_nacked_publish_is_not_stored(broker: DevBroker):
    with opened(broker.url) as channel:
        channel.queue_declare("q")
        broker.nack_publishes(1)
        with pytest.raises(NackError):
            channel.basic_publish("", "q", b"lost")
        channel.basic_publish("", "q", b"kept")
        assert bodies(channel, "q") == [b"kept"]


def test_a_connection_is_cut_right_after_the_delivery_that_was_named(broker: DevBroker):
    with opened(broker.url) as channel:
        channel.queue_declare("q")
        for number in range(5):
            channel.basic_publish("", "q", str(number).encode())
    broker.cut_after_deliveries(2)
    got: list[bytes] = []

    async def consume() -> None:
        connection = await aio_pika.connect(broker.url)
        lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        connection.close_callbacks.add(lambda *_: lost.done() or lost.set_result(None))
        queue = await (await connection.channel()).get_queue("q")

        async def receive(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            got.append(message.body)

        with contextlib.suppress(AMQPException, ConnectionError):  # consume-ok and the end may come together
            await queue.consume(receive)
        await lost
        await connection.close()

    asyncio.run(consume())
    assert got == [b"0", b"1"]
    wait_for(lambda: broker.queues("/")[0]["ready"] == 5)  # neither was settled
    with opened(broker.url) as channel:
        assert channel.basic_get("q")[0].redelivered


def test_dropped_connections_are_reset_at_once_and_only_in_their_vhost(broker: DevBroker):
    with opened(broker.url) as here, opened(broker.vhost_url("other")) as there:
        assert broker.drop_connections("other") == 1
        with pytest.raises(AMQPConnectionError):
            there.queue_declare("q")
        here.queue_declare("q")
        assert [one["vhost"] for one in broker.connections()] == ["/"]


def test_connections_can_be_closed_as_an_operator_does(broker: DevBroker):
    with opened(broker.url) as channel:
        assert broker.close_connections(reason="maintenance") == 1
        with pytest.raises(ConnectionClosedByBroker) as closed:
            channel.queue_declare("q")
        assert closed.value.args == (320, "CONNECTION_FORCED - maintenance")


def test_a_refused_client_can_come_back_later(broker: DevBroker):
    broker.refuse_connections()
    with pytest.raises(AMQPConnectionError), opened(broker.url):
        pass
    broker.refuse_connections(False)
    with opened(broker.url) as channel:
        channel.queue_declare("q")


def test_an_ack_takes_effect_only_later(broker: DevBroker):
    broker.delay_acks(60)
    with opened(broker.url) as channel:
        channel.queue_declare("q")
        channel.basic_qos(prefetch_count=1)
        channel.basic_publish("", "q", b"1")
        channel.basic_publish("", "q", b"2")
        got: list[bytes] = []

        def receive(_channel, method, _properties, body) -> None:
            got.append(body)
            channel.basic_ack(method.delivery_tag)

        channel.basic_consume("q", receive)
        wait_for(lambda: channel.connection.process_data_events(0.02) or got)
        channel.connection.process_data_events(WAITS)
        assert got == [b"1"]
        assert broker.queues("/")[0]["unacked"] == 1
        broker.advance(61)
        wait_for(lambda: channel.connection.process_data_events(0.02) or got == [b"1", b"2"])


@pytest.mark.parametrize("kind", ["classic", "quorum"])
@pytest.mark.parametrize("times", [1, 3])
def test_what_was_acked_comes_back_as_often_as_ordered(broker: DevBroker, times: int, kind: str):
    broker.redeliver_acked(times)
    with opened(broker.url) as channel:
        channel.queue_declare("q", durable=True, arguments={"x-queue-type": kind})
        for body in (b"a", b"b"):
            channel.basic_publish("", "q", body)
        seen = []
        while (got := channel.basic_get("q"))[0] is not None:
            seen.append((got[2], got[0].redelivered))
            channel.basic_ack(got[0].delivery_tag)
    for body in (b"a", b"b"):
        mine = [redelivered for found, redelivered in seen if found == body]
        assert mine == [False] + [True] * times
    assert broker.memory()["used"] == 0


def test_what_was_given_back_before_counts_as_redelivered_already(broker: DevBroker):
    with opened(broker.url) as channel:
        channel.queue_declare("q")
        channel.basic_publish("", "q", b"x")
        channel.basic_nack(channel.basic_get("q")[0].delivery_tag, requeue=True)
        broker.redeliver_acked()
        channel.basic_ack(channel.basic_get("q")[0].delivery_tag)
        assert channel.basic_get("q")[0] is None


def test_publishers_are_blocked_when_they_publish_and_released(broker: DevBroker):
    reasons: list[str] = []
    with opened(broker.url, confirm=False) as channel, opened(broker.url) as idle:
        channel.queue_declare("q")
        channel.connection.add_on_connection_blocked_callback(lambda _, method: reasons.append(method.method.reason))
        channel.connection.add_on_connection_unblocked_callback(lambda *_: reasons.append("released"))
        broker.block("disk is full")
        channel.basic_publish("", "q", b"taken")
        wait_for(lambda: channel.connection.process_data_events(0.02) or reasons)
        channel.basic_publish("", "q", b"waits")
        assert {one["state"] for one in broker.connections()} == {"blocked", "running"}
        assert idle.queue_declare("q", passive=True).method.message_count == 1  # it did not publish
        broker.unblock()
        wait_for(lambda: channel.connection.process_data_events(0.02) or reasons == ["disk is full", "released"])
        wait_for(lambda: idle.queue_declare("q", passive=True).method.message_count == 2)


def test_a_frozen_connection_is_silent_until_it_thaws(broker: DevBroker):
    with opened(broker.url, confirm=False) as channel, opened(broker.vhost_url("other")) as other:
        channel.queue_declare("q")
        broker.freeze("/")
        channel.basic_publish("", "q", b"late")
        other.queue_declare("q")  # its vhost is not frozen
        time.sleep(WAITS)
        assert broker.queues("/")[0]["ready"] == 0
        assert [one["state"] for one in broker.connections()] == ["frozen", "running"]
        broker.thaw("/")
        wait_for(lambda: broker.queues("/")[0]["ready"] == 1)
        channel.queue_declare("q", passive=True)


def test_a_client_that_connects_to_a_frozen_broker_gets_no_answer(broker: DevBroker):
    broker.freeze()
    with pytest.raises(AMQPConnectorException), opened(broker.url, stack_timeout=WAITS, socket_timeout=WAITS):
        pass
    broker.thaw()
    with opened(broker.url) as channel:
        channel.queue_declare("q")


def test_healing_takes_back_everything(broker: DevBroker):
    broker.drop_confirms(9)
    broker.nack_publishes(9, "/")
    broker.delay_confirms(9)
    broker.delay_acks(9, "/")
    broker.redeliver_acked(9)
    broker.cut_after_deliveries(1)
    broker.refuse_connections()
    broker.block()
    broker.freeze()
    broker.heal("/")
    with pytest.raises(AMQPConnectionError), opened(broker.url):
        pass  # what was ordered for all vhosts stays
    broker.heal()
    with opened(broker.url) as channel:
        channel.queue_declare("q")
        channel.basic_publish("", "q", b"x")
        channel.basic_ack(channel.basic_get("q")[0].delivery_tag)
        assert channel.basic_get("q")[0] is None


def test_a_fault_for_one_vhost_leaves_the_others_alone(broker: DevBroker):
    broker.nack_publishes(1, "other")
    with opened(broker.url) as here, opened(broker.vhost_url("other")) as there:
        here.queue_declare("q")
        there.queue_declare("q")
        here.basic_publish("", "q", b"x")
        with pytest.raises(NackError):
            there.basic_publish("", "q", b"x")


def test_a_fault_for_a_vhost_that_does_not_exist_is_refused(broker: DevBroker):
    with pytest.raises(CommandError, match="no vhost 'nowhere'"):
        broker.delay_acks(1, "nowhere")
