"""Faults between a task and its answer, over rpc://: what was answered arrives, and who waits can always stop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from nodes import Node
from proxy import Proxy
from publishing import OPTIONS, declare
from replies import Desk, answering
from waiting import wait_for

from amqtask.errors import BackendError, BrokerUnavailable

pytestmark = pytest.mark.rabbitmq

HOWS = ("thread", "loop")
HOW = pytest.mark.parametrize("how", HOWS)


@pytest.fixture
def proxy(own_node: Node) -> Iterator[Proxy]:
    with Proxy("127.0.0.1", own_node.port) as proxy:
        yield proxy


@pytest.fixture
def desk(own_vhost: str, proxy: Proxy) -> Iterator[Desk]:
    """Connects through the proxy."""
    declare(own_vhost, "q")
    made = Desk(proxy.url(own_vhost), replace(OPTIONS, heartbeat=2))
    yield made
    proxy.thaw()
    made.close()


@pytest.fixture
def desks(own_vhost: str) -> Iterator[dict[str, Desk]]:
    """One for each way to wait, so that both see the same restart: it takes its time."""
    declare(own_vhost, "q")
    made = {how: Desk(own_vhost, replace(OPTIONS, heartbeat=2)) for how in HOWS}
    yield made
    for desk in made.values():
        desk.close()


class Waiting:
    """A thread or a loop that waits for answers."""

    def __init__(self, desk: Desk, *ids: str, how: str, timeout: float | None = 60) -> None:
        self.got: set[str] = set()

        def wait() -> None:
            if how == "thread":
                self.got = set(desk.get(*ids, timeout=timeout))
            else:
                self.got = set(asyncio.run(desk.aget(*ids, timeout=timeout)))

        self._thread = threading.Thread(target=wait)
        self._thread.start()

    def end(self) -> set[str]:
        self._thread.join(70)
        assert not self._thread.is_alive()
        return self.got


@HOW
def test_an_answer_survives_a_cut_between_send_and_wait(desk: Desk, own_vhost: str, proxy: Proxy, how: str):
    task_id = desk.send()
    with answering(own_vhost) as answerer:
        answerer.answer(desk.backend.reply_to, task_id)
    proxy.cut()
    assert Waiting(desk, task_id, how=how).end() == {task_id}


@HOW
def test_a_wait_goes_on_over_cuts(desk: Desk, own_vhost: str, proxy: Proxy, how: str):
    ids = [desk.send() for _ in range(100)]
    waiting = Waiting(desk, *ids, how=how)
    with answering(own_vhost) as answerer:
        wait_for(lambda: answerer.consumers(desk.backend.reply_to) > 0)
        for number, task_id in enumerate(ids):
            answerer.answer(desk.backend.reply_to, task_id)
            if number % 20 == 10:
                proxy.cut()
    assert waiting.end() == set(ids)


@HOW
def test_a_frozen_connection_is_given_up_and_made_again(desk: Desk, own_vhost: str, proxy: Proxy, how: str):
    task_id, other = desk.send(), desk.send()
    waiting = Waiting(desk, task_id, other, how=how)
    with answering(own_vhost) as answerer:
        wait_for(lambda: answerer.consumers(desk.backend.reply_to) > 0)
        proxy.freeze()
        answerer.answer(desk.backend.reply_to, task_id)
        seen = proxy.connections
        wait_for(lambda: proxy.open == 0 or proxy.connections > seen, timeout=30)
        proxy.thaw()
        answerer.answer(desk.backend.reply_to, other)
    assert waiting.end() == {task_id, other}


@pytest.mark.rabbitmq_only("keeping messages over a restart")
def test_an_answer_survives_a_restart_of_the_broker_between_send_and_wait(
    desks: dict[str, Desk], own_node: Node, own_vhost: str
):
    sent = {how: desk.send() for how, desk in desks.items()}
    with answering(own_vhost) as answerer:
        for how, desk in desks.items():
            answerer.answer(desk.backend.reply_to, sent[how])
    own_node.restart()
    for how, desk in desks.items():
        assert Waiting(desk, sent[how], how=how).end() == {sent[how]}


@pytest.mark.rabbitmq_only("keeping messages over a restart")
def test_a_wait_goes_on_over_a_restart_of_the_broker(desks: dict[str, Desk], own_node: Node, own_vhost: str):
    sent = {how: (desk.send(), desk.send()) for how, desk in desks.items()}
    waiting = {how: Waiting(desk, *sent[how], how=how) for how, desk in desks.items()}
    with answering(own_vhost) as answerer:
        for how, desk in desks.items():
            wait_for(lambda desk=desk: answerer.consumers(desk.backend.reply_to) > 0)
            answerer.answer(desk.backend.reply_to, sent[how][0])
    own_node.restart()
    with answering(own_vhost) as answerer:
        for how, desk in desks.items():
            answerer.answer(desk.backend.reply_to, sent[how][1])
    for how in desks:
        assert waiting[how].end() == set(sent[how])


def test_a_task_sent_after_a_restart_can_be_answered_at_once(desks: dict[str, Desk], own_node: Node, own_vhost: str):
    """The dev broker has forgotten the queue: it is declared before the task is published."""
    first = {how: desk.send() for how, desk in desks.items()}
    own_node.restart()
    declare(own_vhost, "q")
    for how, desk in desks.items():
        task_id = asyncio.run(desk.asend()) if how == "loop" else desk.send()
        with answering(own_vhost) as answerer:
            answerer.answer(desk.backend.reply_to, task_id)
        assert Waiting(desk, task_id, how=how).end() == {task_id}
        assert first[how] not in desk.backend.fetch([first[how]])


@HOW
def test_a_wait_ends_in_time_while_there_is_no_broker(desk: Desk, proxy: Proxy, how: str):
    task_id = desk.send()
    proxy.refuse()
    proxy.cut()
    watch = desk.backend.watch([task_id])
    found = watch.wait(1) if how == "thread" else asyncio.run(watch.await_(1))
    assert found == {}
    watch.close()


def test_looking_tells_when_there_is_no_broker(desk: Desk, proxy: Proxy, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("amqtask.results.backends.rpc._LOOK", 1.0)
    task_id = desk.send()
    proxy.refuse()
    proxy.cut()
    with pytest.raises(BackendError, match="has not told within 1 s"):
        desk.backend.fetch([task_id])
    with pytest.raises(BackendError, match="has not told within 1 s"):
        asyncio.run(desk.backend.afetch([task_id]))


def test_sending_without_a_broker_fails_in_its_own_time(desk: Desk, own_vhost: str, proxy: Proxy):
    assert desk.backend.reply_to
    proxy.refuse()
    desk.transport.close()
    with pytest.raises(BrokerUnavailable):
        desk.send(timeout=1)
    proxy.refuse(False)
    task_id = desk.send()
    with answering(own_vhost) as answerer:
        answerer.answer(desk.backend.reply_to, task_id)
    assert set(desk.get(task_id)) == {task_id}
