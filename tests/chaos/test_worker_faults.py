"""Workers, children and connections end at the worst moments: what was sent is done or dead, once each if possible."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pika
import pytest
from proxy import Proxy
from waiting import wait_for

if TYPE_CHECKING:
    from worker_process import Site

pytestmark = pytest.mark.rabbitmq

QUORUM = """\
version: 1
queues:
  work: {}
routes:
  - {task: "*", queue: work}
"""

POOLS = ["prefork", "threads"]


def send_many(site: Site, task: str, count: int, *args: object) -> list[str]:
    """Send tasks labelled t0, t1, ...; returns the labels."""
    labels = [f"t{number}" for number in range(count)]
    for label in labels:
        site.send(task, label, *args)
    return labels


def check_all_done(site: Site, labels: list[str], *, twice: int = 0) -> None:
    """Each label is done, at most so many of them twice (or their second copies handed back), and nothing is dead."""
    done = site.labels("done")
    assert set(done) == set(labels)
    assert sum(done.values()) - len(done) + site.ready("work") <= twice, done.most_common(5)
    assert site.ready("work.dead") == 0


# -- children that die ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["kill", "segfault", "exit"])
def test_task_whose_child_dies_runs_again_and_is_dead_after_three_deaths(site, how):
    worker = site.worker("-P", "prefork", "-c", "2")
    task_id = site.send("die", "always", how, 99)
    site.send("die", "once", how, 1)
    labels = send_many(site, "note", 30)
    (dead,) = site.wait_dead(1)
    assert (dead.id, dead.reason) == (task_id, "worker_lost")
    assert "3 times" in (dead.message or "")
    site.wait_done("once", *labels)
    assert worker.stop() == 0
    assert site.labels("start") == {"always": 3, "once": 2}
    assert site.ready("work") == 0
    assert set(site.labels("done").values()) == {1}


def test_child_killed_from_outside_costs_no_task(site):
    worker = site.worker("-P", "prefork", "-c", "2")
    site.send("hold", "held")
    site.wait_event("start", "held")
    os.kill(site.events("start", "held")[0].pid, signal.SIGKILL)
    labels = send_many(site, "note", 20)
    site.wait_done(*labels)
    wait_for(lambda: site.labels("start")["held"] == 2)
    site.open_gate()
    site.wait_done("held")
    assert worker.stop() == 0
    check_all_done(site, [*labels, "held"])


# -- workers that die -----------------------------------------------------------------------------


@pytest.mark.parametrize("routing", ["classic", "quorum"])
@pytest.mark.parametrize("pool", POOLS)
def test_killed_worker_with_prefetched_messages_loses_nothing(site, pool, routing):
    if routing == "quorum":
        site.route(QUORUM)
    first = site.worker("-P", pool, "-c", "2", "--prefetch", "20")
    labels = send_many(site, "hold", 30)
    wait_for(lambda: len(site.events("start")) == 2)
    site.wait_ready("work", 10)
    first.kill()
    assert not first.survivors()
    site.wait_ready("work", 30)
    second = site.worker("-P", pool, "-c", "2", "--prefetch", "20")
    site.open_gate()
    site.wait_done(*labels)
    assert second.stop() == 0
    check_all_done(site, labels)


@pytest.mark.parametrize("routing", ["classic", "quorum"])
def test_task_that_ends_its_worker_each_time_is_dead_after_three_workers(site, routing):
    if routing == "quorum":
        site.route(QUORUM)
    task_id = site.send("die", "poison", "exit", 99)
    labels = send_many(site, "note", 5)
    for _ in range(3):
        worker = site.worker("-P", "solo", "--prefetch", "10", ready=False)
        assert worker.wait() == 1
    last = site.worker("-P", "solo", "--prefetch", "10")
    (dead,) = site.wait_dead(1)
    assert (dead.id, dead.reason) == (task_id, "worker_lost")
    site.wait_done(*labels)
    assert last.stop() == 0
    assert site.labels("start") == {"poison": 3}
    assert set(site.labels("done").values()) == {1}
    assert (site.ready("work"), site.ready("work.dead")) == (0, 1)


@pytest.mark.parametrize("routing", ["classic", "quorum"])
def test_restarts_never_make_a_message_a_dead_letter(site, routing):
    if routing == "quorum":
        site.route(QUORUM)
    labels = send_many(site, "hold", 6)
    for turn in range(6):
        worker = site.worker("-P", "threads", "-c", "1", "--prefetch", "6", "--shutdown-timeout", "0.1")
        wait_for(lambda: len(site.events("start")) > turn)  # noqa: B023 -- called before the loop goes on
        site.wait_ready("work", 0)
        if turn == 3:
            worker.kill()
        else:
            assert worker.stop() == 0
        site.wait_ready("work", 6)
    site.open_gate()
    worker = site.worker("-P", "threads", "-c", "1")
    site.wait_done(*labels)
    assert worker.stop() == 0
    check_all_done(site, labels)


# -- connections that are cut ---------------------------------------------------------------------


def test_task_whose_ack_was_lost_is_not_run_twice_by_its_worker(site, broker_node):
    with Proxy("127.0.0.1", broker_node.port) as proxy:
        worker = site.worker("-P", "threads", "-c", "2", url=proxy.url(site.url))
        site.send("hold", "held")
        site.wait_event("start", "held")
        proxy.freeze()
        site.open_gate()
        site.wait_done("held")
        worker.wait_for_log(r"Task hold\[\S+\] succeeded")
        proxy.cut()
        proxy.thaw()
        worker.wait_ready(2)
        site.send("note", "after")
        site.wait_done("after")
        assert worker.stop() == 0
    check_all_done(site, ["held", "after"])
    assert site.labels("start")["held"] == 1


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("routing", ["classic", "quorum"])
def test_task_that_runs_while_its_connection_is_cut_is_not_run_again(site, broker_node, pool, routing):
    if routing == "quorum":
        site.route(QUORUM)
    with Proxy("127.0.0.1", broker_node.port) as proxy:
        worker = site.worker("-P", pool, "-c", "2", "--prefetch", "5", url=proxy.url(site.url))
        labels = send_many(site, "hold", 5)
        wait_for(lambda: len(site.events("start")) == 2)
        site.wait_ready("work", 0)
        for turn in range(2, 4):
            proxy.cut()
            worker.wait_ready(turn)
            site.wait_ready("work", 0)
        site.open_gate()
        site.wait_done(*labels)
        assert worker.stop() == 0
    assert set(site.labels("start").values()) == {1}
    check_all_done(site, labels)


@pytest.mark.parametrize("pool", POOLS)
def test_connections_that_are_cut_again_and_again_lose_nothing(site, broker_node, pool):
    with Proxy("127.0.0.1", broker_node.port) as proxy:
        worker = site.worker("-P", pool, "-c", "2", "--prefetch", "30", url=proxy.url(site.url))
        labels = send_many(site, "sends", 300)
        for turn in range(1, 5):
            wait_for(lambda: len(site.events("done")) >= turn * 80)  # noqa: B023 -- called before the loop goes on
            proxy.cut()
            worker.wait_ready(turn + 1)
        site.wait_done(*labels, *(f"{label}.inner" for label in labels))
        wait_for(lambda: site.ready("work") == 0)
        assert worker.stop() == 0
    # what the worker was publishing when the connection was cut may have been stored before, and is sent again
    check_all_done(site, [*labels, *(f"{label}.inner" for label in labels)], twice=40)


@pytest.mark.parametrize("routing", ["classic", "quorum"])
def test_messages_that_only_wait_in_a_worker_are_not_suspected_however_often_its_connection_is_cut(
    site, broker_node, routing
):
    if routing == "quorum":
        site.route(QUORUM)
    with Proxy("127.0.0.1", broker_node.port) as proxy:
        worker = site.worker("-P", "threads", "-c", "2", "--prefetch", "20", url=proxy.url(site.url))
        labels = send_many(site, "hold", 20)
        worker.wait_for_log(r"\] received", 20)
        for turn in range(1, 6):
            proxy.cut()
            worker.wait_for_log(r"\] received", 20 + turn * 18)
            worker.wait_for_log("came again; it still runs", turn * 2)
        site.open_gate()
        site.wait_done(*labels)
        assert worker.stop() == 0
        assert worker.count(r"\] received") == 20 + 5 * 18  # none was sent again with a mark
    check_all_done(site, labels)


# -- brokers that restart -------------------------------------------------------------------------


@pytest.mark.rabbitmq_only("keeping messages over a restart")
def test_broker_restart_while_publishing_and_consuming_loses_nothing(breakable_site, own_node):
    site = breakable_site
    site.route("version: 1\nqueues:\n  work: {type: quorum}\n  other: {type: classic}\n")
    worker = site.worker("-P", "prefork", "-c", "2", "-Q", "work,other", broker_confirm_timeout=60)
    early = [f"early{number}" for number in range(100)]
    for number, label in enumerate(early):
        site.send("pause", label, 0.01, queue=("work", "other")[number % 2])
    site.send("fail", "failed", queue="other")
    wait_for(lambda: len(site.events("done")) > 20)
    site.admin_close()
    restart = threading.Thread(target=own_node.restart)
    restart.start()
    late = [f"late{number}" for number in range(30)]
    for number, label in enumerate(late):
        site.send("resends", label, queue=("work", "other")[number % 2])
    restart.join()
    worker.wait_ready(2)
    inner = [f"{label}.inner" for label in late]
    site.wait_done(*early, *late, *inner, timeout=60)
    (dead,) = site.wait_dead(1, "other")
    assert dead.reason == "failed"
    assert worker.stop() == 0
    assert (site.ready("work"), site.ready("other"), site.ready("work.dead")) == (0, 0, 0)
    assert set(site.labels("done")) == {*early, *late, *inner}


# -- signals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", [0, 40, 120])
@pytest.mark.parametrize("pool", POOLS)
def test_sigterm_under_load_loses_nothing_and_runs_nothing_twice(site, pool, moment):
    worker = site.worker("-P", pool, "-c", "2", "--prefetch", "30", "--shutdown-timeout", "5")
    labels = send_many(site, "pause", 250, 0.002)
    wait_for(lambda: len(site.events("done")) >= moment)
    assert worker.stop() == 0
    done = site.labels("done")
    site.wait_ready("work", len(labels) - len(done))
    assert site.labels("start") == done
    assert "handed back" in worker.text() or len(done) == len(labels)  # on a busy machine the signal comes too late
    second = site.worker("-P", pool, "-c", "2")
    site.wait_done(*labels)
    assert second.stop() == 0
    check_all_done(site, labels)


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio", "solo"])
def test_task_that_outlives_the_grace_time_is_handed_back(site, pool):
    worker = site.worker("-P", pool, "-c", "1", "--shutdown-timeout", "0.5")
    site.send("hold", "straggler")
    site.wait_event("start", "straggler")
    before = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - before >= 0.5
    site.wait_ready("work", 1)
    assert "was stopped and handed back" in worker.text()


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio", "solo"])
def test_sigquit_ends_a_worker_at_once_and_hands_running_tasks_back(site, pool):
    slots = "1" if pool == "solo" else "2"
    worker = site.worker("-P", pool, "-c", slots, "--prefetch", "5", "--shutdown-timeout", "600")
    send_many(site, "ahold" if pool == "asyncio" else "hold", 5)
    wait_for(lambda: len(site.events("start")) >= 1)
    site.wait_ready("work", 0)
    assert worker.stop(signal.SIGQUIT) == 0
    site.wait_ready("work", 5)
    assert not site.events("done")


def test_second_signal_ends_the_wait_for_running_tasks(site):
    worker = site.worker("-P", "prefork", "-c", "1", "--shutdown-timeout", "600")
    site.send("hold", "held")
    site.wait_event("start", "held")
    worker.send_signal(signal.SIGTERM)
    worker.wait_for_log("Waiting up to 600s for 1 running")
    first = time.monotonic()
    wait_for(lambda: time.monotonic() - first > 0.6)  # sooner, it would be the same request
    assert worker.stop() == 0
    site.wait_ready("work", 1)


# -- dead letters that can't be stored ------------------------------------------------------------


def declare(site: Site, queue: str, **arguments: object) -> None:
    """Make a queue by other means than ours."""
    with closing(pika.BlockingConnection(pika.URLParameters(site.url))) as connection:
        connection.channel().queue_declare(queue, durable=True, arguments=arguments)


def take_dead(site: Site) -> str:
    """Take a dead letter out of its queue, where there is room for the next one then; its id."""
    message = wait_for(lambda: site.admin.get("work.dead"))
    site.admin.ack(message.tag)
    return message.properties.correlation_id


def test_dead_letter_that_is_refused_keeps_its_message_until_there_is_room(site):
    declare(site, "work", **{"x-queue-type": "classic"})
    declare(site, "work.dead", **{"x-max-length": 1, "x-overflow": "reject-publish"})
    words = ("-P", "threads", "-c", "2", "--prefetch", "10")
    first = site.worker(*words, topology_mode="none")
    ids = {site.send("fail", f"failed{number}") for number in range(3)}
    first.wait_for_log(r"the message is kept, next attempt", 2)
    site.send("note", "meanwhile")
    site.wait_done("meanwhile")
    found = {take_dead(site)}
    site.wait_ready("work.dead", 1)
    site.send("note", "later")  # by its end the worker has acknowledged what was stored
    site.wait_done("later")
    first.kill()
    wait_for(lambda: site.ready("work") >= 1)  # the third, that nobody could store; "later" too, if its ack was lost
    second = site.worker(*words, topology_mode="none")
    while found != ids:
        found.add(take_dead(site))
    assert second.stop() == 0
    assert site.ready("work") == 0


def test_worker_that_can_not_store_a_dead_letter_hands_its_message_back_when_it_ends(site):
    declare(site, "work", **{"x-queue-type": "classic"})
    declare(site, "work.dead", **{"x-max-length": 0, "x-overflow": "reject-publish"})
    worker = site.worker("-P", "solo", "--shutdown-timeout", "0.5", topology_mode="none")
    site.send("fail", "failed")
    worker.wait_for_log(r"the message is kept, next attempt")
    assert worker.stop() == 0
    site.wait_ready("work", 1)


# -- the tree of `amqtask up` ---------------------------------------------------------------------

UP = """\
version: 1
defaults:
  queue: {type: classic}
queues:
  work: {}
  other: {}
routes:
  - {task: "*", queue: work}
pools:
  one: {queues: [work], pool: prefork, concurrency: 2}
  two: {queues: [other], pool: threads, concurrency: 2}
"""


def test_killed_supervisor_leaves_no_process_and_no_message(site):
    site.route(UP)
    up = site.start("up", "--shutdown-timeout", "0.5", ready=False)
    up.wait_ready(2)
    site.send("hold", "one")
    site.send("hold", "two", queue="other")
    site.wait_event("start", "one", "two")
    assert len(up.family()) >= 5  # two workers, a fork server and its two children
    up.kill()
    assert not up.survivors(timeout=30)
    site.wait_ready("work", 1)
    site.wait_ready("other", 1)


def test_supervisor_replaces_a_killed_worker(site):
    site.route(UP)
    up = site.start("up", ready=False)
    up.wait_ready(2)
    site.send("hold", "held", queue="other")
    site.wait_event("start", "held")
    os.kill(site.events("start", "held")[0].pid, signal.SIGKILL)
    up.wait_ready(3)
    site.open_gate()
    site.wait_done("held")
    assert up.stop() == 0
    assert site.labels("start")["held"] == 2
