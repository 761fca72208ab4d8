"""Nobody is flooded, neither a client that reads slowly nor the broker's memory; what is in it can be looked at."""

from __future__ import annotations

import asyncio
import socket
import time

import aio_pika
import pika
import pytest
from dev_clients import bodies, opened
from pamqp import commands, frame
from waiting import wait_for

from amqtask.testing.devbroker import DevBroker

MIB = 1 << 20


class SlowReader:
    """A consumer below any library that reads only when told."""

    def __init__(self, port: int, queue: str, *, no_ack: bool) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.socket.connect(("127.0.0.1", port))
        self.socket.settimeout(60)
        login = commands.Connection.StartOk({}, "PLAIN", "\0guest\0guest", "en_US")
        tuning = commands.Connection.TuneOk(2047, 131072, 0)
        self._send(0, b"AMQP\x00\x00\x09\x01", login, tuning, commands.Connection.Open("/"))
        self._send(1, b"", commands.Channel.Open(), commands.Basic.Consume(0, queue, "slow", no_ack=no_ack))

    def _send(self, channel: int, first: bytes, *methods: frame.FrameTypes) -> None:
        self.socket.sendall(first + b"".join(frame.marshal(method, channel) for method in methods))

    def count(self, mark: bytes, times: int) -> int:
        """Read until ``mark`` came so often; how many bytes that were."""
        read, rest = 0, b""
        while times > 0:
            data = self.socket.recv(MIB)
            assert data
            read += len(data)
            times -= (rest + data).count(mark)
            rest = (rest + data)[-len(mark) + 1 :]
        return read


@pytest.mark.parametrize("no_ack", [False, True])
def test_a_slow_reader_gets_no_more_than_it_takes_and_the_rest_waits_in_the_queue(no_ack: bool):
    with DevBroker() as broker, opened(broker.url) as channel:
        channel.queue_declare("q")
        for number in range(200):
            channel.basic_publish("", "q", b"<%03d>" % number + b"x" * 100_000)
        reader = SlowReader(broker.port, "q", no_ack=no_ack)
        with reader.socket:
            wait_for(lambda: broker.queues("/")[0]["consumers"] == 1)
            time.sleep(0.2)
            assert broker.queues("/")[0]["ready"] > 100
            assert reader.count(b"xxxxx\xce\x01", 199) > 15 * MIB
            wait_for(lambda: broker.queues("/")[0]["ready"] == 0)


def test_publishers_are_blocked_at_the_memory_limit_until_somebody_reads():
    states: list[str] = []
    with DevBroker(memory_limit=2 * MIB) as broker, opened(broker.url, confirm=False) as channel:
        channel.connection.add_on_connection_blocked_callback(lambda _, method: states.append(method.method.reason))
        channel.connection.add_on_connection_unblocked_callback(lambda *_: states.append("released"))
        channel.queue_declare("q")
        while not states:
            channel.basic_publish("", "q", b"x" * 100_000)
            channel.connection.process_data_events(0)
        assert states == ["low on memory"]
        for _ in range(10):  # into the buffers of the sockets
            channel.basic_publish("", "q", b"x" * 100_000)
        assert broker.memory()["used"] < 4 * MIB  # what was read with the publish that hit the limit
        with opened(broker.url) as reader:
            assert broker.connections()[1]["state"] == "running"
            wait_for(lambda: len(bodies(reader, "q")) == 0)
            channel.connection.process_data_events(0.1)
            wait_for(lambda: channel.connection.process_data_events(0.02) or states[1:2] == ["released"])
            wait_for(lambda: bodies(reader, "q") == [] and broker.memory()["used"] == 0)


def test_a_connection_that_does_not_publish_is_never_blocked():
    with DevBroker(memory_limit=1000) as broker, opened(broker.url, confirm=False) as publisher:
        publisher.queue_declare("q")
        publisher.basic_publish("", "q", b"x" * 2000)
        with opened(broker.url) as reader:
            reader.queue_declare("other")
            assert bodies(reader, "q") == [b"x" * 2000]


@pytest.mark.parametrize("size", [0, 1, 131_064, 131_065, 5 * MIB])
def test_bodies_of_every_size_arrive(size: int):
    body = bytes(range(256)) * (size // 256 + 1)
    with DevBroker() as broker, opened(broker.url) as channel:
        channel.queue_declare("q")
        channel.basic_publish("", "q", body[:size])
        assert bodies(channel, "q") == [body[:size]]


def test_many_publishers_and_consumers_lose_nothing_and_repeat_nothing():
    got: list[bytes] = []

    async def main(broker: DevBroker) -> None:
        url = broker.url
        async with await aio_pika.connect(url) as sending, await aio_pika.connect(url) as receiving:
            queue = await (await receiving.channel()).declare_queue("q")
            for _ in range(4):
                channel = await receiving.channel()
                await channel.set_qos(prefetch_count=7)

                async def receive(message: aio_pika.abc.AbstractIncomingMessage) -> None:
                    async with message.process():
                        got.append(message.body)

                await (await channel.get_queue("q")).consume(receive)

            async def publish(publisher: int) -> None:
                exchange = (await sending.channel()).default_exchange
                for number in range(100):
                    message = aio_pika.Message(b"%d-%d" % (publisher, number))
                    await exchange.publish(message, queue.name, mandatory=True)

            await asyncio.gather(*map(publish, range(8)))
            # also the acks: what is not settled when the connection closes would come back
            await asyncio.to_thread(wait_for, lambda: len(got) == 800 and broker.memory()["used"] == 0)

    with DevBroker() as broker:
        asyncio.run(main(broker))
        assert len(got) == len(set(got)) == 800
        assert broker.memory()["used"] == 0


def test_what_was_published_can_be_looked_at():
    with DevBroker(vhosts=("/", "other")) as broker, opened(broker.url) as channel:
        channel.exchange_declare("tasks", "topic")
        properties = pika.BasicProperties(
            headers={"task": "shop.add", "eta": None}, type="t", message_id="m", timestamp=1_700_000_000, priority=3
        )
        channel.basic_publish("tasks", "shop.add", b"\xff\x00", properties)  # no queue: dropped, and in the log
        [seen] = broker.published("/")
        assert seen == {
            "exchange": "tasks",
            "routing_key": "shop.add",
            "properties": {
                "headers": {"task": "shop.add", "eta": None},
                "type": "t",
                "message_id": "m",
                "timestamp": 1_700_000_000,
                "priority": 3,
            },
            "body": b"\xff\x00",
        }
        assert broker.published("other") == []
        broker.forget_published("/")
        assert broker.published("/") == []


def test_the_log_of_publishes_keeps_the_latest_within_bounds():
    with DevBroker() as broker, opened(broker.url, confirm=False) as channel:
        for number in range(10_050):
            channel.basic_publish("", "nowhere", b"%d" % number)
        channel.confirm_delivery()
        channel.basic_publish("", "nowhere", b"x" * 3 * MIB)
        seen = [one["body"] for one in broker.published("/")]
        assert seen[-1] == b"x" * 3 * MIB
        assert seen[-2] == b"10049"
        assert sum(map(len, seen)) < 4 * MIB


def test_queues_can_be_counted():
    with DevBroker() as broker, opened(broker.url) as channel:
        channel.queue_declare("work", durable=True, arguments={"x-queue-type": "quorum", "x-delivery-limit": 3})
        for _ in range(3):
            channel.basic_publish("", "work", b"x")
        channel.basic_get("work")
        assert broker.queues("/") == [
            {
                "name": "work",
                "type": "quorum",
                "arguments": {"x-queue-type": "quorum", "x-delivery-limit": 3},
                "ready": 2,
                "unacked": 1,
                "consumers": 0,
            }
        ]


def test_the_clock_can_be_moved_past_a_ttl():
    with DevBroker() as broker, opened(broker.url) as channel:
        channel.queue_declare("dead")
        arguments = {"x-message-ttl": 3_600_000, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
        channel.queue_declare("late", arguments=arguments)
        channel.basic_publish("", "late", b"x")
        broker.advance(3599)
        assert bodies(channel, "dead") == []
        broker.advance(2)
        assert bodies(channel, "dead") == [b"x"]
