"""The rpc:// backend: answers reach whoever waits, from any number of threads and loops, and only this process."""

from __future__ import annotations

import json
import logging
import selectors
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import unquote, urlsplit

import pytest
from interrupts import inside, interrupted
from nodes import Node, RabbitNode
from proxy import Proxy
from publishing import OPTIONS, declare, message, transport
from replies import Answerer, Desk, document
from waiting import wait_for

from amqtask.app.transport import BrokerTransport
from amqtask.broker.loop import SelectLoop
from amqtask.broker.publisher import Publisher
from amqtask.broker.shared_loop import SharedLoop
from amqtask.broker.url import parse_urls
from amqtask.config.settings import Settings
from amqtask.errors import BackendError, BrokerUnavailable, ConfigError, PublishTimeout
from amqtask.results.backends import rpc
from amqtask.results.backends.rpc import RpcBackend
from amqtask.results.base import Timely

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def restricted_url(broker_node: Node, vhost_url: str) -> Iterator[str]:
    """URL of a user who may not configure reply queues."""
    if not isinstance(broker_node, RabbitNode) or not broker_node.has_ctl:
        pytest.skip("rabbitmqctl does not reach the broker")
    parts = urlsplit(vhost_url)
    name = f"user-{time.monotonic_ns()}"
    broker_node.ctl("add_user", name, "secret")
    broker_node.ctl("set_permissions", "-p", unquote(parts.path[1:]), name, "^q$", ".*", ".*")
    yield parts._replace(netloc=f"{name}:secret@{parts.hostname}:{parts.port}").geturl()
    broker_node.ctl("delete_user", name)


def test_an_answer_reaches_the_one_who_waits(desk: Desk, answerer: Answerer):
    task_id = desk.send()
    answerer.answer(desk.backend.reply_to, task_id, 42)
    assert desk.get(task_id)[task_id]["result"] == 42


def test_the_queue_is_there_before_the_first_task_can_be_answered(desk: Desk, answerer: Answerer):
    desk.send()
    arguments = {"x-expires": 86_400_000, "x-message-ttl": 86_400_000}
    answerer.channel.queue_declare(desk.backend.reply_to, durable=True, arguments=arguments)  # or 406
    assert answerer.consumers(desk.backend.reply_to) == 0  # consumed from the first wait on


class Holding:
    """Rides on a publisher's connection, and does not let it publish yet."""

    waiting = False

    def __init__(self) -> None:
        self.then: list[Callable[[], None]] = []

    def connected(self, _connection: object, then: Callable[[], None]) -> None:
        self.then.append(then)

    def disconnected(self, _error: object, *, final: bool) -> None:
        """Nothing."""

    def stopped(self) -> None:
        """Nothing."""


def test_nothing_is_published_on_a_connection_before_the_queue_is_declared(vhost_url: str, answerer: Answerer):
    declare(vhost_url, "q")
    sender, rider = transport(vhost_url), Holding()

    def ride(publisher: Publisher, finish: Callable[[None], None]) -> None:
        publisher.ride(rider)
        finish(None)

    sender.run(ride)
    with pytest.raises((PublishTimeout, BrokerUnavailable)):
        sender.send(message("q"), timeout=0.5)
    assert answerer.count("q") == 0
    thread = threading.Thread(target=sender.send, args=(message("q"),), kwargs={"timeout": 60})
    thread.start()
    wait_for(lambda: rider.then)
    assert sender.publisher is not None
    sender.publisher.loop.call_soon_threadsafe(rider.then[0])
    thread.join()
    assert answerer.count("q") == 1
    sender.close()


def test_results_that_never_expire_have_no_ttl(vhost_url: str, answerer: Answerer):
    declare(vhost_url, "q")
    desk = Desk(vhost_url, result_expires=0.0)
    desk.send()
    answerer.channel.queue_declare(desk.backend.reply_to, durable=True, arguments={"x-expires": 86_400_000})
    desk.close()


def test_results_that_are_kept_longer_than_a_day_keep_their_queue(vhost_url: str, answerer: Answerer):
    declare(vhost_url, "q")
    desk = Desk(vhost_url, result_expires=200_000.0)
    desk.send()
    arguments = {"x-expires": 200_000_000, "x-message-ttl": 200_000_000}
    answerer.channel.queue_declare(desk.backend.reply_to, durable=True, arguments=arguments)
    desk.close()


def test_a_wait_without_an_answer_ends_in_time_and_can_be_repeated(desk: Desk, answerer: Answerer):
    task_id = desk.send()
    watch = desk.backend.watch([task_id])
    started = time.monotonic()
    assert watch.wait(0.3) == {}
    assert time.monotonic() - started > 0.25
    answerer.answer(desk.backend.reply_to, task_id)
    assert set(watch.wait(60)) == {task_id}
    watch.close()


def test_a_wait_of_no_time_looks_once(desk: Desk, answerer: Answerer):
    task_id = desk.send()
    watch = desk.backend.watch([task_id])
    assert watch.wait(0) == {}
    for status in ("STARTED", "SUCCESS"):
        answerer.answer(desk.backend.reply_to, task_id, status=status)
        assert json.loads(watch.wait(0)[task_id])["status"] == status
    watch.close()


def test_every_state_is_told_as_it_comes_and_success_stays(desk: Desk, answerer: Answerer):
    task_id, other = desk.send(), desk.send()
    watch = desk.backend.watch([task_id, other])
    seen = []
    for status in ("STARTED", "PROGRESS", "SUCCESS", "FAILURE"):
        answerer.answer(desk.backend.reply_to, task_id, status=status)
        seen.append(json.loads(watch.wait(60)[task_id])["status"])
    assert seen == ["STARTED", "PROGRESS", "SUCCESS", "SUCCESS"]
    assert json.loads(desk.backend.fetch([task_id])[task_id])["status"] == "SUCCESS"
    watch.close()


def test_looking_finds_what_has_arrived_without_waiting(desk: Desk, answerer: Answerer):
    task_id, other = desk.send(), desk.send()
    assert desk.backend.fetch([task_id]) == {}
    for _ in range(3):  # with and without a consumer from before
        answerer.answer(desk.backend.reply_to, task_id)
        assert set(desk.backend.fetch([task_id, other])) == {task_id}
        desk.backend.forget([task_id])
    assert desk.backend.fetch([task_id]) == {}


def test_looks_see_every_state_that_a_task_goes_through(desk: Desk, answerer: Answerer):
    task_id, other = desk.send(), desk.send()
    answerer.answer(desk.backend.reply_to, other, status="STARTED")
    for status in ("STARTED", "PROGRESS", "RETRY", "FAILURE"):
        answerer.answer(desk.backend.reply_to, task_id, status=status)
        found = desk.backend.fetch([task_id, other])
        assert [json.loads(found[one])["status"] for one in (task_id, other)] == [status, "STARTED"]


def test_a_second_look_finds_the_answer_again(desk: Desk, answerer: Answerer):
    task_id = desk.send()
    answerer.answer(desk.backend.reply_to, task_id)
    assert set(desk.get(task_id)) == set(desk.get(task_id)) == set(desk.backend.fetch([task_id])) == {task_id}


@pytest.mark.parametrize("asked", [lambda desk, one: desk.backend.fetch([one]), lambda desk, one: desk.get(one)])
def test_after_a_failure_whoever_asks_anew_gets_the_answer_of_the_replay(desk: Desk, answerer: Answerer, asked):
    task_id = desk.send()
    for status in ("FAILURE", "FAILURE", "SUCCESS"):
        answerer.answer(desk.backend.reply_to, task_id, status, status=status)
        document = asked(desk, task_id)[task_id]
        assert (json.loads(document) if isinstance(document, bytes) else document)["status"] == status


def test_a_failure_that_is_here_is_told_when_the_queue_can_not_be_looked_into(
    desk: Desk, answerer: Answerer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rpc, "_AGAIN", 0.1)
    task_id = desk.send()
    answerer.answer(desk.backend.reply_to, task_id, status="FAILURE")
    before = desk.backend.fetch([task_id])
    assert json.loads(before[task_id])["status"] == "FAILURE"
    away = BrokerTransport(parse_urls("amqp://nobody@127.0.0.1:1/"), OPTIONS, "round-robin")
    desk.backend.bind(away)
    assert desk.backend.fetch([task_id]) == before
    assert desk.get(task_id)[task_id]["status"] == "FAILURE"
    away.close()


def test_a_hundred_failures_are_told_soon_while_the_queue_can_not_be_looked_into(
    desk: Desk, answerer: Answerer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rpc, "_AGAIN", 2.0)
    ids = [desk.send() for _ in range(100)]
    for task_id in ids:
        answerer.answer(desk.backend.reply_to, task_id, status="FAILURE")
    assert set(desk.get(*ids)) == set(ids)
    away = BrokerTransport(parse_urls("amqp://nobody@127.0.0.1:1/"), OPTIONS, "round-robin")
    desk.backend.bind(away)
    assert all(desk.backend.fetch([task_id]) for task_id in ids)  # each in its own time: longer than a test may take
    away.close()


@pytest.mark.parametrize("ended", [False, True])
def test_who_has_only_so_long_is_not_kept_by_a_queue_that_can_not_be_looked_into(
    desk: Desk, answerer: Answerer, ended: bool
):
    """As ``get`` is, where what went before the task has failed."""
    failed, task_id = desk.send(), desk.send()
    answerer.answer(desk.backend.reply_to, failed, status="FAILURE")
    assert set(desk.backend.fetch([failed])) == {failed}
    away = BrokerTransport(parse_urls("amqp://nobody@127.0.0.1:1/"), OPTIONS, "round-robin")
    desk.backend.bind(away)
    assert isinstance(desk.backend, Timely)
    started = time.monotonic()
    found = desk.backend.fetch_by([failed] if ended else [failed, task_id], started + 0.3)
    assert (None if found is None else set(found)) == ({failed} if ended else None)
    away.close()


def test_a_group_of_a_thousand_is_awaited_with_one_watch(desk: Desk, answerer: Answerer):
    ids = [desk.send() for _ in range(1000)]
    thread = threading.Thread(target=lambda: [answerer.answer(desk.backend.reply_to, one) for one in reversed(ids)])
    thread.start()
    assert set(desk.get(*ids)) == set(ids)
    thread.join()
    assert wait_for(lambda: desk.backend.fetch(["nobody"]) == {} and answerer.count(desk.backend.reply_to) == 0)


def test_many_threads_wait_at_once(desk: Desk, answerer: Answerer):
    failures: list[BaseException] = []
    asked: list[str] = []

    def ask() -> None:
        try:
            for _ in range(20):
                task_id = desk.send()
                asked.append(task_id)
                assert desk.get(task_id, timeout=30)[task_id]["result"] == task_id
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for number in range(16 * 20):
        wait_for(lambda number=number: len(asked) > number or failures)
        assert failures == []
        answerer.answer(desk.backend.reply_to, asked[number], asked[number])
    for thread in threads:
        thread.join(60)
    assert failures == []


def test_others_send_and_close_while_a_thread_waits(desk: Desk, answerer: Answerer):
    task_id = desk.send()
    got: list[dict[str, object]] = []
    thread = threading.Thread(target=lambda: got.append(desk.get(task_id, timeout=None)))
    thread.start()
    for _ in range(20):
        desk.send()
    desk.close()
    desk.send()
    answerer.answer(desk.backend.reply_to, task_id)
    thread.join(60)
    assert set(got[0]) == {task_id}


def test_an_exception_from_a_signal_handler_ends_the_wait_and_harms_nobody(desk: Desk, answerer: Answerer):
    waiting, mine = desk.send(), desk.send()
    got: list[dict[str, object]] = []
    other = threading.Thread(target=lambda: got.append(desk.get(waiting, timeout=30)))
    other.start()
    for _ in range(20):
        with interrupted(inside(SharedLoop.run)):
            desk.get(mine, timeout=None)
    answerer.answer(desk.backend.reply_to, waiting)
    answerer.answer(desk.backend.reply_to, mine)
    assert set(desk.get(mine)) == {mine}
    other.join(60)
    assert set(got[0]) == {waiting}


def test_an_interrupted_wait_keeps_the_connection(vhost_url: str):
    declare(vhost_url, "q")
    with Proxy("127.0.0.1", parse_urls(vhost_url)[0].port) as proxy:
        desk = Desk(proxy.url(vhost_url))
        resting = inside(SelectLoop.turn, selectors.DefaultSelector.select)
        for _ in range(5):
            task_id = desk.send()
            with interrupted(lambda: desk.backend.needs_pump() and resting()):  # consumes, and waits
                desk.get(task_id, timeout=None)
        desk.close()
        assert proxy.connections == 1


def test_ten_thousand_answers_that_nobody_asked_for_do_no_harm(desk: Desk, answerer: Answerer):
    first = desk.send()
    answerer.channel = answerer.channel.connection.channel()  # without confirms
    for number in range(10_000):
        answerer.publish(desk.backend.reply_to, f"stranger-{number}", document(f"stranger-{number}", "x" * 100))
    answerer.answer(desk.backend.reply_to, first)
    assert set(desk.get(first, timeout=30)) == {first}
    assert len(desk.backend.fetch([f"stranger-{number}" for number in range(10_000)])) == 10_000


def test_what_a_connection_has_taken_in_does_not_come_again_to_the_next(desk: Desk, answerer: Answerer):
    task_id = desk.send()
    answerer.answer(desk.backend.reply_to, task_id)
    desk.get(task_id)
    desk.backend.forget([task_id])
    desk.close()
    assert answerer.count(desk.backend.reply_to) == 0
    assert desk.backend.fetch([task_id]) == {}


def test_an_answer_without_a_correlation_id_is_thrown_away(desk: Desk, answerer: Answerer):
    task_id = desk.send()
    answerer.publish(desk.backend.reply_to, None, b"?")
    answerer.publish(desk.backend.reply_to, task_id, b"\xff not json")
    answerer.answer(desk.backend.reply_to, task_id, 2)
    assert wait_for(lambda: desk.get(task_id)[task_id]["result"] == 2)


def test_a_queue_that_an_operator_deletes_is_made_again(
    desk: Desk, answerer: Answerer, caplog: pytest.LogCaptureFixture
):
    task_id, other = desk.send(), desk.send()
    answerer.delete(desk.backend.reply_to)  # nobody consumes it yet: found missing by the first wait
    watch = desk.backend.watch([task_id])
    assert watch.wait(0.2) == {}
    answerer.delete(desk.backend.reply_to)  # with a consumer
    with caplog.at_level(logging.WARNING, logger="amqtask"):
        assert watch.wait(1) == {}
    assert "was deleted; it is made again" in caplog.text
    answerer.answer(desk.backend.reply_to, other)
    answerer.answer(desk.backend.reply_to, task_id)
    assert set(watch.wait(60)) == {task_id}
    watch.close()


def test_an_address_in_the_url_is_refused():
    with pytest.raises(ConfigError, match="takes no address"):
        RpcBackend("rpc://guest@elsewhere//", Settings())


@pytest.mark.rabbitmq_only("the dev broker has no permissions")
def test_without_the_right_to_declare_tasks_are_sent_and_waiting_says_why(
    restricted_url: str, vhost_url: str, answerer: Answerer, caplog: pytest.LogCaptureFixture
):
    declare(vhost_url, "q")
    desk = Desk(restricted_url)
    with caplog.at_level(logging.WARNING, logger="amqtask"):
        task_id = desk.send()
    assert answerer.count("q") == 1
    assert "No answers can come" in caplog.text
    for _ in range(2):
        with pytest.raises(BackendError, match=r"reply queue 'amqtask\.reply\..*ACCESS_REFUSED"):
            desk.get(task_id)
        with pytest.raises(BackendError, match=r"reply queue 'amqtask\.reply\..*ACCESS_REFUSED"):
            desk.backend.fetch([task_id])
    for _ in range(5):
        desk.send()
    assert caplog.text.count("No answers can come") == 1
    desk.close()
