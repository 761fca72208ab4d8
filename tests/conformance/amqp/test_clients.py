"""Clients that others wrote, as their users use them: pika, aio-pika, py-amqp, kombu."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import amqp
import kombu
import pika
import pytest
from aio_pika.exceptions import ChannelPreconditionFailed, DeliveryError
from aio_pika.patterns import RPC, Master
from amqp_client import Client
from proxy import Proxy
from waiting import wait_for

SECONDS = 20.0
QUIET = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:amqp"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:kombu"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
pytestmark = QUIET


def asynchronous(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run the test in a loop of its own, for at most ``SECONDS``."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), SECONDS))

    return run


# -- pika ---------------------------------------------------------------------------------------


def test_pika_consumes_by_iterating(client: Client) -> None:
    channel = client.channel()
    channel.queue_declare("q")
    for number in range(10):
        channel.basic_publish("", "q", b"%d" % number)
    bodies = []
    for method, _, body in channel.consume("q", inactivity_timeout=5):
        channel.basic_ack(method.delivery_tag)
        bodies.append(body)
        if len(bodies) == 10:
            break
    assert channel.cancel() == 0
    assert bodies == [b"%d" % number for number in range(10)]


def test_pika_opens_many_channels_and_connections(connect: Callable[..., Client]) -> None:
    clients = [connect() for _ in range(20)]
    for number, one in enumerate(clients):
        for channel in [one.channel() for _ in range(20)]:
            channel.queue_declare(f"q{number}", exclusive=True)


def test_pika_acknowledges_from_another_thread(client: Client) -> None:
    channel = client.channel(prefetch=1)
    channel.queue_declare("q", auto_delete=False)
    for _ in range(5):
        channel.basic_publish("", "q", b"x")
    done = []

    def work(tag: int) -> None:
        client.connection.add_callback_threadsafe(lambda: (channel.basic_ack(tag), done.append(tag)))

    def received(_channel: Any, method: Any, *_: Any) -> None:
        threading.Thread(target=work, args=(method.delivery_tag,)).start()

    channel.basic_consume("q", received)
    wait_for(lambda: client.process(0.02) or len(done) == 5)
    assert done == [1, 2, 3, 4, 5]


def test_pika_stays_connected_by_heartbeats(connect: Callable[..., Client]) -> None:
    client = connect(heartbeat=1)
    client.process(3.2)
    client.channel().queue_declare("q")


def test_pika_asynchronous(vhost_url: str) -> None:
    """pika's other connection, driven by callbacks."""
    steps: list[str] = []

    def opened(connection: pika.SelectConnection) -> None:
        connection.channel(on_open_callback=channel_opened)

    def channel_opened(channel: Any) -> None:
        channel.confirm_delivery(ack_nack_callback=lambda frame: steps.append(type(frame.method).__name__))
        channel.queue_declare("q", callback=lambda _: declared(channel))

    def declared(channel: Any) -> None:
        channel.basic_consume("q", lambda *args: received(channel, args[1], args[3]))
        channel.basic_publish("", "q", b"x" * 300_000)

    def received(channel: Any, method: Any, body: bytes) -> None:
        steps.append(f"received {len(body)}")
        channel.basic_ack(method.delivery_tag)
        connection.ioloop.call_later(0.1, connection.close)

    connection = pika.SelectConnection(
        pika.URLParameters(vhost_url),
        on_open_callback=opened,
        on_close_callback=lambda *_: connection.ioloop.stop(),
        on_open_error_callback=lambda *_: connection.ioloop.stop(),
    )
    connection.ioloop.start()
    assert sorted(steps) == ["Ack", "received 300000"]


# -- aio-pika -----------------------------------------------------------------------------------


@asynchronous
async def test_aio_pika_publishes_with_confirms_and_consumes(vhost_url: str) -> None:
    async with await aio_pika.connect_robust(vhost_url) as connection:
        channel = await connection.channel(on_return_raises=True)
        await channel.set_qos(10)
        queue = await channel.declare_queue("q", durable=True, arguments={"x-queue-type": "quorum"})
        message = functools.partial(aio_pika.Message, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        publish = channel.default_exchange.publish
        await asyncio.gather(*(publish(message(b"%d" % number), "q") for number in range(200)))
        bodies: list[int] = []
        async with queue.iterator() as messages:
            async for one in messages:
                async with one.process():
                    bodies.append(int(one.body))
                if len(bodies) == 200:
                    break
        assert sorted(bodies) == list(range(200))
        with pytest.raises(DeliveryError):
            await publish(message(b"x"), "nowhere")


@asynchronous
async def test_aio_pika_rejects_and_returns(vhost_url: str) -> None:
    async with await aio_pika.connect_robust(vhost_url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("dead")
        queue = await channel.declare_queue(
            "q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
        )
        await channel.default_exchange.publish(aio_pika.Message(b"x", headers={"n": 1 << 40}), "q")
        first = await queue.get(timeout=5)
        assert first is not None
        await first.nack(requeue=True)
        second = await queue.get(timeout=5)
        assert second is not None
        assert second.redelivered
        with suppress(ZeroDivisionError):
            async with second.process():
                _ = 1 / 0
        dead = await channel.declare_queue("dead", passive=True)
        while (letter := await dead.get(timeout=5, fail=False)) is None:  # noqa: ASYNC110 - only the queue knows
            await asyncio.sleep(0.02)
        assert letter.headers["n"] == 1 << 40
        assert letter.headers["x-death"][0]["reason"] == "rejected"  # type: ignore[index,call-overload]


@asynchronous
async def test_aio_pika_reads_a_refusal(vhost_url: str) -> None:
    async with await aio_pika.connect_robust(vhost_url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("q")
        with pytest.raises(ChannelPreconditionFailed, match="inequivalent arg 'x-max-length'"):
            await channel.declare_queue("q", arguments={"x-max-length": 5})


@asynchronous
async def test_aio_pika_reconnects_and_restores_what_it_had(vhost_url: str) -> None:
    parts = urlsplit(vhost_url)
    with Proxy(parts.hostname or "", parts.port or 0) as proxy:
        connection = await aio_pika.connect_robust(proxy.url(vhost_url), reconnect_interval=0.1)
        async with connection:
            channel = await connection.channel()
            queue = await channel.declare_queue("mine", exclusive=True)
            exchange = await channel.declare_exchange("x", aio_pika.ExchangeType.TOPIC, auto_delete=True)
            await queue.bind(exchange, "key.*")
            bodies: list[bytes] = []

            async def received(message: Any) -> None:
                bodies.append(message.body)
                await message.ack()

            await queue.consume(received)
            for turn in (b"one", b"two", b"three"):
                while turn not in bodies:  # the connection may just be down
                    with suppress(Exception):
                        await asyncio.wait_for(exchange.publish(aio_pika.Message(turn), "key.1"), 1)
                    await asyncio.sleep(0.05)
                proxy.cut()
            assert proxy.connections >= 3


@asynchronous
async def test_aio_pika_calls_procedures(vhost_url: str) -> None:
    async with await aio_pika.connect_robust(vhost_url) as connection:
        channel = await connection.channel()
        rpc = await RPC.create(channel)

        async def multiply(x: int, y: int) -> int:
            return x * y

        await rpc.register("multiply", multiply, auto_delete=True)
        results = await asyncio.gather(*(rpc.proxy.multiply(x=number, y=2) for number in range(50)))
        assert results == [number * 2 for number in range(50)]
        await rpc.close()


@asynchronous
async def test_aio_pika_spreads_work(vhost_url: str) -> None:
    done: list[int] = []

    async def work(*, number: int) -> None:
        done.append(number)

    async with await aio_pika.connect_robust(vhost_url) as connection:
        channel = await connection.channel()
        master = Master(channel)
        await master.create_worker("work", work, auto_delete=True)
        for number in range(30):
            await master.proxy.work(number=number)
        while len(done) < 30:  # noqa: ASYNC110 - the condition has no event
            await asyncio.sleep(0.01)
    assert sorted(done) == list(range(30))


# -- py-amqp and kombu --------------------------------------------------------------------------


def test_py_amqp_publishes_and_consumes(vhost_url: str, vhost: str) -> None:
    parts = urlsplit(vhost_url)
    connection = amqp.Connection(
        f"{parts.hostname}:{parts.port}", "guest", "guest", virtual_host=vhost, confirm_publish=True
    )
    with connection:
        channel = connection.channel()
        channel.queue_declare("q", auto_delete=False)
        got: list[Any] = []
        channel.basic_consume("q", callback=got.append)
        message = amqp.Message(b"x" * 200_000, application_headers={"list": [1, None, {"a": True}]}, priority=3)
        channel.basic_publish(message, routing_key="q")
        while not got:
            connection.drain_events(timeout=5)
        assert len(got[0].body) == 200_000
        assert got[0].headers == {"list": [1, None, {"a": True}]}
        channel.basic_ack(got[0].delivery_tag)


def test_kombu_makes_its_entities_and_delivers(vhost_url: str) -> None:
    exchange = kombu.Exchange("tasks", "topic")
    queue = kombu.Queue("emails", exchange, routing_key="email.#", max_priority=5, message_ttl=60)
    got: list[Any] = []
    with kombu.Connection(vhost_url) as connection:
        with connection.Producer() as producer:
            producer.publish(
                {"hello": "world"}, exchange=exchange, routing_key="email.new", declare=[queue], retry=True
            )
        with connection.Consumer([queue], callbacks=[lambda body, message: (got.append(body), message.ack())]):
            connection.drain_events(timeout=5)
        assert got == [{"hello": "world"}]
        with connection.SimpleQueue("simple") as simple:
            simple.put([1, 2])
            message = simple.get(timeout=5)
            assert message.payload == [1, 2]
            message.ack()
