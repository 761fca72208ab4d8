"""Which message runs next, how many a worker holds, and when they are acknowledged."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.rabbitmq

TWO = """\
version: 1
defaults:
  queue: {type: classic}
queues:
  work: {}
  first: {prefetch: 20}
  second: {prefetch: 20}
pools:
  weighted: {queues: {work: 1, first: 3, second: 1}, order: weighted, pool: solo}
"""


def order(site) -> list[str]:
    return [one.label for one in site.events("done")]


def fill(site, count: int = 8) -> None:
    """Queue a few for each queue while the worker is busy, and wait until it holds all of them."""
    site.wait_event("start", "busy")
    for number in range(count):
        site.send("note", f"first{number}", queue="first")
        site.send("note", f"second{number}", queue="second")
    site.wait_ready("first", 0)
    site.wait_ready("second", 0)


@pytest.mark.parametrize("prefetch", ["1", "10"])
def test_messages_of_higher_priority_run_first(site, prefetch):
    site.route("version: 1\nqueues:\n  work: {max_priority: 9}\n")
    site.send("hold", "busy", priority=9)
    worker = site.worker("-P", "solo", "--prefetch", prefetch)
    site.wait_event("start", "busy")
    for priority in (1, 9, 5, 0, 7, 5):
        site.send("note", str(priority), priority=priority)
    site.open_gate()
    site.wait_done("0")
    assert order(site) == ["busy", "9", "7", "5", "5", "1", "0"]
    assert worker.stop() == 0


def test_strict_order_serves_the_first_queue_first(site):
    site.route(TWO)
    site.worker("-P", "solo", "-Q", "work,first,second", "--order", "strict")
    site.send("hold", "busy")
    fill(site)
    site.open_gate()
    site.wait_done("second7")
    numbers = range(8)
    assert order(site)[1:] == [f"first{number}" for number in numbers] + [f"second{number}" for number in numbers]


def test_weighted_order_shares_by_weight_and_starves_nobody(site):
    site.route(TWO)
    site.worker("--pool-name", "weighted")
    site.send("hold", "busy")
    fill(site)
    site.open_gate()
    site.wait_done("second7", "first7")
    early = [label.rstrip("0123456789") for label in order(site)[1:9]]
    assert (early.count("first"), early.count("second")) == (6, 2)


def test_fair_order_takes_turns(site):
    site.route(TWO)
    site.worker("-P", "solo", "-Q", "work,first,second", "--order", "fair")
    site.send("hold", "busy")
    fill(site)
    site.open_gate()
    site.wait_done("second7", "first7")
    early = [label.rstrip("0123456789") for label in order(site)[1:9]]
    assert early.count("first") == 4


def test_an_excluded_queue_is_left_alone(site):
    site.route(TWO)
    site.worker("-P", "solo", "-X", "second")
    site.send("note", "left", queue="second")
    site.send("note", "taken", queue="first")
    site.wait_done("taken")
    assert site.ready("second") == 1


def test_prefetch_bounds_what_a_worker_holds(site):
    for number in range(6):
        site.send("hold", f"held{number}")
    worker = site.worker("-P", "threads", "-c", "2", "--prefetch", "3")
    site.wait_ready("work", 3)
    worker.wait_for_log("received", 3)
    site.wait_event("start", "held0", "held1")
    assert worker.count("received") == 3
    site.open_gate()
    site.wait_done(*(f"held{number}" for number in range(6)))


def test_without_a_prefetch_a_worker_holds_no_more_than_it_runs(site):
    for number in range(5):
        site.send("hold", f"held{number}")
    site.worker("-P", "threads", "-c", "2")
    site.wait_event("start", "held0", "held1")
    assert site.ready("work") == 3
    site.worker("-P", "threads", "-c", "3")
    site.wait_event("start", *(f"held{number}" for number in range(5)))


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_short_tasks_do_not_wait_behind_a_long_one(site, pool):
    worker = site.worker("-P", pool, "-c", "2")
    warm = [f"warm{number}" for number in range(200)]
    for label in warm:
        site.send("note", label)
    site.wait_done(*warm)  # the worker has learnt that these tasks are short, and holds many
    site.send("hold", "long")
    short = [f"short{number}" for number in range(60)]
    for label in short:
        site.send("note", label)
    site.wait_done(*short)
    site.wait_event("start", "long")
    assert not site.labels("done")["long"]
    site.open_gate()
    site.wait_done("long")
    assert worker.stop() == 0


def test_a_message_is_acknowledged_at_the_end_of_its_task_so_that_a_kill_returns_it(site):
    worker = site.worker("-P", "threads", "-c", "2")
    site.send("hold", "late")
    site.send("early", "early")
    site.wait_event("start", "late", "early")
    worker.kill()
    site.wait_ready("work", 1)
    second = site.worker("-P", "threads", "-c", "2")
    site.open_gate()
    site.wait_done("late")
    assert second.stop() == 0
    assert site.labels("start") == {"late": 2, "early": 1}
    assert site.ready("work") == 0
