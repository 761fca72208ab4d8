"""Publishing from coroutines: the same promises and errors, in the caller's loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from dataclasses import replace

import pytest
from proxy import Proxy
from publishing import OPTIONS, declare, drain, message

from amqtask.broker.admin import Admin
from amqtask.broker.aio import AioTransport
from amqtask.broker.url import parse_urls
from amqtask.errors import (
    AccessRefused,
    BrokerUnavailable,
    EncodeError,
    InequivalentArguments,
    MessageTooLarge,
    PublishError,
    PublishTimeout,
    QueueFull,
    TopologyError,
    Unroutable,
)
from amqtask.topology.declarations import ExchangeDeclare, QueueBind, QueueDeclare
from amqtask.wire.message import Properties

pytestmark = pytest.mark.rabbitmq


def transport(url: str) -> AioTransport:
    return AioTransport(parse_urls(url), OPTIONS)


def test_a_sent_message_arrives_with_every_property(vhost_url: str):
    declare(vhost_url, "q")
    properties = Properties(
        content_type="application/json",
        headers={"task": "t", "n": 1, "big": 2**40, "none": None, "list": [1, "a"], "bytes": b"\x00\xff"},
        priority=3,
        correlation_id="c",
        reply_to="r",
        message_id="m",
        timestamp=1_700_000_000,
        type="ty",
        app_id="a",
    )
    asyncio.run(transport(vhost_url).asend(message("q", properties=properties, body=b"\xff"), timeout=60))
    with Admin(parse_urls(vhost_url), OPTIONS) as admin:
        received = admin.get("q")
    assert received is not None
    assert received.properties == properties
    assert received.body == b"\xff"


def test_one_message_too_many_for_the_time_is_not_blamed_on_the_connection(vhost_url: str):
    declare(vhost_url, "q")
    with Proxy("127.0.0.1", parse_urls(vhost_url)[0].port) as proxy:
        sender = transport(proxy.url(vhost_url))

        async def main() -> None:
            await sender.asend(message("q", "first"), timeout=60)
            proxy.freeze()
            sends = [asyncio.ensure_future(sender.asend(message("q", str(n)), timeout=60)) for n in range(500)]
            await asyncio.sleep(0)  # they have had their turns
            with pytest.raises(BrokerUnavailable, match="^not sent: the broker has confirmed none"):
                await sender.asend(message("q", "last"), timeout=0.1)
            proxy.thaw()
            await asyncio.gather(*sends)
            await sender.aclose()

        asyncio.run(main())


def test_concurrent_sends_are_pipelined_on_one_connection(vhost_url: str):
    declare(vhost_url, "q")
    with Proxy("127.0.0.1", parse_urls(vhost_url)[0].port) as proxy:
        sender = transport(proxy.url(vhost_url))

        async def main() -> None:
            await sender.asend(message("q", "first"), timeout=30)
            proxy.delay(0.35)  # one by one, each would take two delays: longer than a test may take
            await asyncio.gather(*(sender.asend(message("q", str(n)), timeout=60) for n in range(200)))

        asyncio.run(main())
        assert proxy.connections == 1
    assert drain(vhost_url, "q") == Counter({"first", *map(str, range(200))})


def test_each_refusal_is_told_to_its_own_sender(vhost_url: str):
    declare(vhost_url, "q")
    declare(vhost_url, "full", arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
    sender = transport(vhost_url)
    wrong = {
        Unroutable: message("nowhere", "a"),
        QueueFull: message("full", "b"),
        MessageTooLarge: message("q", "c", properties=Properties(headers={"h": "x" * 140_000})),
        EncodeError: message("q", "d", properties=Properties(headers={"h": 0.5})),
        PublishError: message("q", "e", properties=Properties(expiration="soon")),
    }

    async def main() -> list[object]:
        good = [sender.asend(message("q", str(n)), timeout=60) for n in range(50)]
        bad = [sender.asend(each, timeout=60) for each in wrong.values()]
        missing = sender.asend(message("k", "f", exchange="missing"), timeout=60)
        return await asyncio.gather(*good[:25], *bad, missing, *good[25:], return_exceptions=True)

    results = asyncio.run(main())
    failed = [type(result) for result in results if result is not None]
    assert failed == [*wrong, Unroutable]
    assert set(drain(vhost_url, "q")) == {str(n) for n in range(50)}


def test_the_loop_goes_on_while_there_is_no_broker():
    sender = transport("amqp://user:hidden@127.0.0.1:9/")

    async def main() -> None:
        sending = asyncio.create_task(sender.asend(message("q"), timeout=600))
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert not sending.done()
        sending.cancel()
        told = ""
        for seconds in (0.5, 3.0, 30.0):  # a busy machine may not get so far in less
            with pytest.raises(BrokerUnavailable) as caught:
                await sender.asend(message("q"), timeout=seconds)
            told = str(caught.value)
            if "127.0.0.1:9" in told:
                break
        assert "127.0.0.1:9" in told
        assert "hidden" not in told

    asyncio.run(main())


def test_wrong_credentials_and_vhost_are_told_at_once(vhost_url: str):
    url = parse_urls(vhost_url)[0]

    async def main() -> None:
        for bad, says in ((replace(url, password="wr0ng"), "user"), (replace(url, vhost="missing"), "'missing'")):
            with pytest.raises(AccessRefused, match=says):
                await AioTransport((bad,), OPTIONS).asend(message("q"), timeout=30)

    asyncio.run(main())


def test_another_broker_is_taken_when_the_first_does_not_answer(vhost_url: str):
    declare(vhost_url, "q")
    asyncio.run(transport(f"amqp://127.0.0.1:9/;{vhost_url}").asend(message("q"), timeout=60))
    assert drain(vhost_url, "q") == {"m": 1}


def test_nothing_is_lost_when_the_connection_is_cut(vhost_url: str):
    declare(vhost_url, "q")
    with Proxy("127.0.0.1", parse_urls(vhost_url)[0].port) as proxy:
        sender = transport(proxy.url(vhost_url))

        async def main() -> None:
            await sender.asend(message("q", "first"), timeout=60)
            proxy.cut_after(20_000)
            await asyncio.gather(*(sender.asend(message("q", str(n), b"x" * 100), timeout=30) for n in range(500)))

        asyncio.run(main())
        assert proxy.connections >= 2
    assert set(drain(vhost_url, "q")) == {"first", *map(str, range(500))}


def test_a_frozen_connection_times_out(vhost_url: str):
    declare(vhost_url, "q")
    with Proxy("127.0.0.1", parse_urls(vhost_url)[0].port) as proxy:
        sender = transport(proxy.url(vhost_url))

        async def main() -> None:
            await sender.asend(message("q", "first"), timeout=60)
            proxy.freeze()
            with pytest.raises(PublishTimeout, match="may or may not"):
                await sender.asend(message("q", "frozen"), timeout=0.3)
            proxy.thaw()
            await sender.asend(message("q", "thawed"), timeout=60)
            await sender.aclose()

        asyncio.run(main())
    assert drain(vhost_url, "q")["thawed"] == 1


def test_a_cancelled_send_leaves_the_transport_usable(vhost_url: str):
    declare(vhost_url, "q")
    sender = transport(vhost_url)

    async def main() -> None:
        for _ in range(20):
            task = asyncio.create_task(sender.asend(message("q", "maybe"), timeout=60))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await sender.asend(message("q", "sure"), timeout=60)

    asyncio.run(main())
    assert drain(vhost_url, "q")["sure"] == 1


def test_topologies_are_declared_and_refusals_told(vhost_url: str):
    sender = transport(vhost_url)

    async def main() -> None:
        await sender.adeclare(
            lambda _version: [
                ExchangeDeclare("tasks", "topic"),
                QueueDeclare("emails", arguments={"x-max-priority": 5}),
                QueueBind("emails", "tasks", "email.#"),
            ]
        )
        await sender.asend(message("email.x", "1", exchange="tasks"), timeout=60)
        with pytest.raises(InequivalentArguments) as caught:
            await sender.adeclare(lambda _version: [QueueDeclare("emails")])
        assert caught.value.argument == "x-max-priority"
        with pytest.raises(TopologyError, match="no exchange 'missing'"):
            await sender.adeclare(lambda _version: [QueueBind("emails", "missing")])
        await sender.asend(message("email.x", "2", exchange="tasks"), timeout=60)

    asyncio.run(main())
    assert drain(vhost_url, "emails") == {"1": 1, "2": 1}


def test_every_loop_has_a_connection_of_its_own(vhost_url: str):
    declare(vhost_url, "q")
    sender = transport(vhost_url)

    def work(name: int) -> None:
        async def main() -> None:
            for number in range(20):
                await sender.asend(message("q", f"{name}.{number}"), timeout=60)

        asyncio.run(main())

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert drain(vhost_url, "q") == Counter(f"{name}.{number}" for name in range(4) for number in range(20))


def test_closing_and_sending_again(vhost_url: str):
    declare(vhost_url, "q")
    sender = transport(vhost_url)

    async def main() -> None:
        await sender.aclose()
        for number in range(3):
            await sender.asend(message("q", str(number)), timeout=60)
            await sender.aclose()

    asyncio.run(main())
    assert drain(vhost_url, "q") == Counter("012")


def test_a_program_that_does_not_close_ends_without_a_word(vhost_url: str):
    declare(vhost_url, "q")
    program = textwrap.dedent(f"""
        import asyncio, sys; sys.path.insert(0, {str(next(p for p in sys.path if p.endswith("tests")))!r})
        from publishing import OPTIONS, message
        from amqtask.broker.aio import AioTransport
        from amqtask.broker.url import parse_urls
        sender = AioTransport(parse_urls({vhost_url!r}), OPTIONS)
        async def main():
            await asyncio.gather(*(sender.asend(message("q", str(n)), timeout=60) for n in range(10)))
        asyncio.run(main())
        asyncio.run(main())
    """)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert sum(drain(vhost_url, "q").values()) == 20
