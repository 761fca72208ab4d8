"""The rpc:// backend for coroutines: each loop has its consumer, none is ever blocked, and threads may wait as well."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace

import pytest
from pika.exceptions import ChannelClosedByBroker
from proxy import Proxy
from publishing import OPTIONS, declare
from replies import Answerer, Desk, answering
from waiting import wait_for

from amqtask.broker import reply_aio
from amqtask.broker.url import parse_urls
from amqtask.errors import BackendError
from amqtask.topology.declarations import QueueDeclare
from amqtask.wire.ids import new_id

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def lazy(vhost_url: str) -> Iterator[Desk]:
    """A desk whose connection, when nobody drives it, rests longer than anybody waits for an answer here."""
    declare(vhost_url, "q")
    made = Desk(vhost_url, replace(OPTIONS, heartbeat=0))
    yield made
    made.close()


async def in_thread(answerer: Answerer, desk: Desk, task_id: str, result: object = 1) -> None:
    await asyncio.to_thread(answerer.answer, desk.backend.reply_to, task_id, result)


def test_an_answer_reaches_the_coroutine_that_waits(desk: Desk, answerer: Answerer):
    async def main() -> object:
        task_id = await desk.asend()
        await in_thread(answerer, desk, task_id, 42)
        return (await desk.aget(task_id))[task_id]["result"]

    assert asyncio.run(main()) == 42


def test_the_queue_is_there_before_the_first_task_can_be_answered(desk: Desk, answerer: Answerer):
    asyncio.run(desk.asend())
    assert answerer.consumers(desk.backend.reply_to) == 0


def test_after_a_failure_whoever_asks_anew_gets_the_answer_of_the_replay(desk: Desk, answerer: Answerer):
    async def main() -> list[str]:
        task_id, seen = await desk.asend(), []
        for status in ("FAILURE", "SUCCESS"):
            await asyncio.to_thread(answerer.answer, desk.backend.reply_to, task_id, status=status)
            seen.append((await desk.aget(task_id))[task_id]["status"])
        return seen

    assert asyncio.run(main()) == ["FAILURE", "SUCCESS"]


def test_the_loop_goes_on_while_coroutines_wait(desk: Desk, answerer: Answerer):
    async def main() -> None:
        ids = [await desk.asend() for _ in range(100)]
        waiting = [asyncio.create_task(desk.aget(task_id, timeout=60)) for task_id in ids]
        await asyncio.sleep(0)  # they wait, before there is an answer
        publishing = asyncio.create_task(
            asyncio.to_thread(lambda: [answerer.answer(desk.backend.reply_to, one) for one in ids])
        )
        found = await asyncio.gather(*waiting)
        await publishing
        assert {one for answers in found for one in answers} == set(ids)

    asyncio.run(main())


def test_a_wait_without_an_answer_ends_in_time(desk: Desk):
    async def main() -> None:
        watch = desk.backend.watch([await desk.asend()])
        assert await watch.await_(0.3) == {}
        watch.close()

    asyncio.run(main())


def test_a_wait_of_no_time_looks_once(desk: Desk, answerer: Answerer):
    async def main() -> None:
        task_id = await desk.asend()
        watch = desk.backend.watch([task_id])
        assert await watch.await_(0) == {}
        for status in ("STARTED", "SUCCESS"):
            await asyncio.to_thread(answerer.answer, desk.backend.reply_to, task_id, status=status)
            assert json.loads((await watch.await_(0))[task_id])["status"] == status
        watch.close()

    asyncio.run(main())


def test_looks_see_every_state_that_a_task_goes_through(desk: Desk, answerer: Answerer):
    async def main() -> list[str]:
        task_id = await desk.asend()
        seen = []
        for status in ("STARTED", "PROGRESS", "SUCCESS"):
            await asyncio.to_thread(answerer.answer, desk.backend.reply_to, task_id, status=status)
            seen.append(json.loads((await desk.backend.afetch([task_id]))[task_id])["status"])
        return seen

    assert asyncio.run(main()) == ["STARTED", "PROGRESS", "SUCCESS"]


def test_a_cancelled_wait_can_be_repeated(desk: Desk, answerer: Answerer):
    async def main() -> None:
        task_id = await desk.asend()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(desk.aget(task_id, timeout=None), 0.3)
        await in_thread(answerer, desk, task_id)
        assert set(await desk.aget(task_id)) == {task_id}

    asyncio.run(main())


def test_a_wait_that_is_cancelled_as_it_begins_to_consume_leaves_the_loop_with_a_consumer(
    desk: Desk, answerer: Answerer
):
    async def main() -> None:
        task_id = await desk.asend()
        waiting = asyncio.create_task(desk.aget(task_id, timeout=None))
        replies = desk.transport.aio._line().replies
        assert replies is not None
        while not replies._receiving:  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        await in_thread(answerer, desk, task_id)
        assert set(await desk.aget(task_id)) == {task_id}

    asyncio.run(main())


def test_looking_finds_what_has_arrived_without_waiting(desk: Desk, answerer: Answerer):
    async def main() -> None:
        task_id, other = await desk.asend(), await desk.asend()
        assert await desk.backend.afetch([task_id]) == {}
        for _ in range(3):
            await in_thread(answerer, desk, task_id)
            assert set(await desk.backend.afetch([task_id, other])) == {task_id}
            desk.backend.forget([task_id])

    asyncio.run(main())


def test_no_loop_is_kept_that_has_ended(desk: Desk, answerer: Answerer):
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def main() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        task_id = await desk.asend()
        await in_thread(answerer, desk, task_id)
        assert set(await desk.aget(task_id)) == {task_id}

    for _ in range(4):
        asyncio.run(main())
    gc.collect()
    assert [loop() for loop in loops[:-1]] == [None] * 3


def test_a_later_loop_gets_what_an_earlier_one_has_sent(desk: Desk, answerer: Answerer):
    async def send() -> list[str]:
        ids = [await desk.asend() for _ in range(3)]
        await in_thread(answerer, desk, ids[0])
        await desk.aget(ids[0])  # this loop consumes
        return ids

    ids = asyncio.run(send())
    for task_id in ids[1:]:
        answerer.answer(desk.backend.reply_to, task_id)
    assert set(asyncio.run(desk.aget(*ids))) == set(ids)


def test_two_loops_and_a_thread_wait_at_once(desk: Desk, answerer: Answerer):
    """Answers are spread over the three consumers, whoever waits for them."""
    count = 60
    ids = {name: [desk.send() for _ in range(count)] for name in ("loop", "other loop", "thread")}
    got: dict[str, set[str]] = {}

    def wait_in_loop(name: str) -> None:
        got[name] = set(asyncio.run(desk.aget(*ids[name], timeout=30)))

    def wait_in_thread(name: str) -> None:
        got[name] = set(desk.get(*ids[name], timeout=30))

    threads = [
        threading.Thread(target=wait_in_loop, args=("loop",)),
        threading.Thread(target=wait_in_loop, args=("other loop",)),
        threading.Thread(target=wait_in_thread, args=("thread",)),
    ]
    for thread in threads:
        thread.start()
    wait_for(lambda: answerer.consumers(desk.backend.reply_to) == 3)
    for number in range(count):
        for group in ids.values():
            answerer.answer(desk.backend.reply_to, group[number])
    for thread in threads:
        thread.join(60)
    assert got == {name: set(group) for name, group in ids.items()}


def test_a_coroutine_gets_what_went_to_a_connection_that_no_thread_drives(lazy: Desk, answerer: Answerer):
    first = lazy.send()
    answerer.answer(lazy.backend.reply_to, first)
    lazy.get(first)  # this connection consumes from now on, and nobody drives it

    async def main() -> None:
        for _ in range(20):
            task_id = await lazy.asend()
            await in_thread(answerer, lazy, task_id)
            await lazy.aget(task_id, timeout=15)

    asyncio.run(main())
    wait_for(lambda: answerer.consumers(lazy.backend.reply_to) == 1)


def test_a_thread_that_has_waited_leaves_its_connection_driven_while_coroutines_wait(lazy: Desk, answerer: Answerer):
    async def main() -> None:
        ids = [await lazy.asend() for _ in range(20)]
        waiting = asyncio.create_task(lazy.aget(*ids, timeout=15))
        await asyncio.to_thread(wait_for, lambda: answerer.consumers(lazy.backend.reply_to) == 1)
        assert await asyncio.to_thread(lazy.backend.fetch, ["nobody"]) == {}  # consumes, too, and leaves
        for task_id in ids:
            await in_thread(answerer, lazy, task_id)
        await waiting

    asyncio.run(main())


def test_a_closed_connection_stays_closed_although_coroutines_have_waited(vhost_url: str, answerer: Answerer):
    declare(vhost_url, "q")
    with Proxy("127.0.0.1", parse_urls(vhost_url)[0].port) as proxy:
        desk = Desk(proxy.url(vhost_url))
        task_id, other = desk.send(), desk.send()
        answerer.answer(desk.backend.reply_to, task_id)
        desk.get(task_id)
        answerer.answer(desk.backend.reply_to, other)
        asyncio.run(desk.aget(other))
        desk.close()
        wait_for(lambda: "amqtask-replies" not in [thread.name for thread in threading.enumerate()])
        wait_for(lambda: proxy.open == 0)
        assert proxy.connections <= 2


def test_a_task_sent_by_a_thread_is_awaited_by_a_coroutine_and_the_reverse(desk: Desk, answerer: Answerer):
    async def send_and_wait(other: str) -> str:
        task_id = await desk.asend()
        await in_thread(answerer, desk, other)
        await desk.aget(other)
        return task_id

    by_coroutine = asyncio.run(send_and_wait(desk.send()))
    answerer.answer(desk.backend.reply_to, by_coroutine)
    assert set(desk.get(by_coroutine)) == {by_coroutine}


@pytest.mark.parametrize("pause", [0, 60])
def test_answers_are_acknowledged_once_when_more_come_than_may_be_under_way(
    desk: Desk, answerer: Answerer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, pause: float
):
    monkeypatch.setattr(reply_aio, "PREFETCH", 20)
    monkeypatch.setattr(reply_aio, "ACK_PAUSE", pause)

    async def main() -> None:
        ids = [await desk.asend(), *(new_id() for _ in range(99))]
        waiting = asyncio.create_task(desk.aget(*ids))
        for one in ids:
            await in_thread(answerer, desk, one)
        assert set(await waiting) == set(ids)
        await desk.transport.aclose()

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert caplog.messages == [], "an acknowledgement too many costs the channel"
    assert answerer.count(desk.backend.reply_to) == 0


@pytest.mark.parametrize("looking", [False, True])
def test_what_a_loop_has_waited_for_does_not_come_again_to_the_next(desk: Desk, answerer: Answerer, looking: bool):
    async def main() -> None:
        ids = [await desk.asend() for _ in range(3)]
        for one in ids:
            answerer.answer(desk.backend.reply_to, one)
        if looking:
            assert set(await desk.backend.afetch(ids)) == set(ids)
        else:
            await asyncio.gather(*(desk.aget(one) for one in ids))

    for _ in range(3):
        asyncio.run(main())
        assert answerer.count(desk.backend.reply_to) == 0


def test_a_queue_that_an_operator_deletes_is_made_again(
    desk: Desk, answerer: Answerer, caplog: pytest.LogCaptureFixture
):
    async def main() -> None:
        task_id = await desk.asend()
        await asyncio.to_thread(answerer.delete, desk.backend.reply_to)
        watch = desk.backend.watch([task_id])
        assert await watch.await_(0.2) == {}
        await asyncio.to_thread(answerer.delete, desk.backend.reply_to)
        with caplog.at_level(logging.WARNING, logger="amqtask"):
            assert await watch.await_(1) == {}
        assert "was deleted; it is made again" in caplog.text
        await in_thread(answerer, desk, task_id)
        assert set(await watch.await_(10)) == {task_id}
        watch.close()

    asyncio.run(main())


def test_connections_that_were_used_before_take_the_queue_too(desk: Desk, answerer: Answerer):
    async def main(late: Desk) -> None:
        late.transport.declare(lambda _: [QueueDeclare("q")])
        await late.transport.adeclare(lambda _: [QueueDeclare("q")])
        late.backend.bind(late.transport)
        task_id, other = await late.asend(), late.send()
        await in_thread(answerer, late, task_id)
        await in_thread(answerer, late, other)
        assert set(await late.aget(task_id)) == {task_id}
        assert set(await asyncio.to_thread(late.get, other)) == {other}

    late = Desk(desk.url, bind=False)
    asyncio.run(main(late))
    late.close()


def test_expecting_declares_the_queue_for_tasks_that_go_another_way(desk: Desk, answerer: Answerer):
    desk.backend.bind(desk.transport, elsewhere=lambda: True)
    asyncio.run(desk.backend.aexpect(["t"]))  # nobody has asked for the queue's name: no answer can come
    name = desk.backend.reply_to
    with pytest.raises(ChannelClosedByBroker, match="NOT_FOUND"):
        answerer.count(name)
    with answering(desk.url) as another:
        asyncio.run(desk.backend.aexpect(["t"]))
        assert another.count(name) == 0
    other = Desk(desk.url)
    name = other.backend.reply_to
    other.backend.expect(["t"])
    with answering(desk.url) as another, pytest.raises(ChannelClosedByBroker, match="NOT_FOUND"):
        another.count(name)  # the send would declare it
    other.backend.bind(other.transport, elsewhere=lambda: True)
    with answering(desk.url) as another:
        other.backend.expect(["t"])
        assert another.count(name) == another.consumers(name) == 0
    other.close()


def test_a_refused_login_is_told_to_who_waits(desk: Desk):
    asyncio.run(desk.asend())
    wrong = Desk(desk.url.replace("://guest:guest@", "://guest:wrong@"))
    assert wrong.backend.reply_to

    async def main() -> None:
        with pytest.raises(BackendError, match="refused"):
            await wrong.aget("t")
        await wrong.backend.aexpect(["t"])  # the send tells
        with pytest.raises(BackendError, match="refused"):
            await wrong.backend.afetch(["t"])

    asyncio.run(main())
    with pytest.raises(BackendError, match="refused"):
        wrong.get("t")
    with pytest.raises(BackendError, match="refused"):
        wrong.backend.fetch(["t"])
    wrong.close()
