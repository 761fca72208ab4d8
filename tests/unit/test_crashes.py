"""Telling a message that kills its worker from one whose worker merely went away."""

from __future__ import annotations

import pytest
from worker_messages import delivery

from amqtask.worker.deliveries.crashes import RUN, Verdict, judge
from amqtask.worker.deliveries.republish import lost_count


def crash_until_dead(*, counting, limit, forged=None):
    """Play broker and worker: every run crashes. Returns how often it ran."""
    lost, count, redelivered, runs = 0, 0, False, 0
    while True:
        headers = {"x-amqtask-lost": lost} if lost else {}
        if forged is not None:
            headers["x-delivery-count"] = forged
        if counting and redelivered:
            headers["x-delivery-count"] = count
        verdict = judge(delivery(redelivered=redelivered, **headers), limit, counting=counting)
        if verdict.action == "dead":
            return runs
        if verdict.action == "mark":
            lost, count, redelivered = verdict.lost, 0, False
            continue
        runs += 1
        count, redelivered = count + 1, True


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
@pytest.mark.parametrize("counting", [True, False], ids=["quorum", "classic"])
def test_a_message_that_kills_every_worker_runs_as_often_as_the_limit_says(counting, limit):
    assert crash_until_dead(counting=counting, limit=limit) == limit


@pytest.mark.parametrize("forged", [-(10**9), 0, 1])
def test_a_count_that_a_client_has_written_lets_no_message_kill_for_ever(forged):
    assert crash_until_dead(counting=False, limit=3, forged=forged) == 3


def test_a_fresh_message_runs():
    assert judge(delivery(), 3) == RUN


def test_a_first_redelivery_of_a_counting_queue_runs_in_place():
    assert judge(delivery(redelivered=True, x_delivery_count=1), 3) == RUN


def test_a_suspect_is_marked_and_not_dead_lettered_before_it_has_run_alone():
    assert judge(delivery(redelivered=True, x_delivery_count=7), 3) == Verdict("mark", 2)


def test_a_marked_message_that_was_not_redelivered_runs():
    assert judge(delivery(**{"x-amqtask-lost": 2}), 3) == RUN


def test_counts_that_are_no_numbers_do_not_harm():
    assert judge(delivery(redelivered=True, **{"x-amqtask-lost": "x", "x-delivery-count": "y"}), 3).action == "mark"


@pytest.mark.parametrize("counting", [True, False], ids=["quorum", "classic"])
def test_a_count_below_nothing_counts_as_nothing(counting):
    """Whoever publishes may write any number; it must not let a message kill for ever."""
    forged = {"x-amqtask-lost": -(10**9), **({"x-delivery-count": 3} if counting else {})}
    assert judge(delivery(redelivered=True, **forged), 3) == Verdict("mark", 2 if counting else 1)
    assert lost_count(delivery(**forged)) == 0
