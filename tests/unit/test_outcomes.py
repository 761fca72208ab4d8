"""What follows from each way a job can end."""

from __future__ import annotations

from datetime import timedelta

import pytest
from worker_messages import delivery

from amqtask.broker.content import seal
from amqtask.broker.interface import ConnectionOptions
from amqtask.execution.job import After, Kind, Outcome
from amqtask.topology.declarations import Queue, RetryPolicy
from amqtask.topology.plain import plain_queue
from amqtask.wire.message import Outgoing, Properties
from amqtask.worker.deliveries.outcome import NOTHING, Effects

RETRYING = Queue("q", retry=RetryPolicy(delays=(timedelta(seconds=5), timedelta(minutes=1))))


@pytest.fixture
def effects():
    return Effects(lambda _name: RETRYING, "w@h", [5.0, 30.0], 3)


@pytest.mark.parametrize("kind", [Kind.SUCCESS, Kind.IGNORED])
def test_success_and_ignore_only_ack(effects, kind):
    assert effects.of(delivery(), Outcome(1, kind)) is NOTHING


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Kind.FAILED, "failed"),
        (Kind.REJECTED, "rejected"),
        (Kind.EXPIRED, "expired"),
        (Kind.UNDECODABLE, "undecodable"),
        (Kind.REFUSED, "refused_content"),
    ],
)
def test_every_refusal_goes_to_the_dead_letter_queue_with_its_reason(effects, kind, reason):
    first = delivery(body=b"garbage \xff", **{"x-mine": 1, "x-death": [{}]})
    effect = effects.of(first, Outcome(1, kind, error=("ValueError", "boom", "Traceback ...")))
    message = effect.message
    headers = message.properties.headers
    assert (message.exchange, message.routing_key, message.body) == ("", "q.dead", b"garbage \xff")
    assert effect.dead == headers["x-amqtask-reason"] == reason
    assert headers["x-amqtask-exception"] == "ValueError"
    assert headers["x-amqtask-message"] == "boom"
    assert headers["x-amqtask-traceback"] == "Traceback ..."
    assert headers["x-amqtask-queue"] == "q"
    assert headers["x-amqtask-worker"] == "w@h"
    assert headers["x-amqtask-attempts"] == 1
    assert headers["x-mine"] == 1
    assert "x-death" not in headers


def test_a_slim_dead_letter_leaves_out_what_makes_headers_large(effects):
    effect = effects.of(delivery(**{"x-mine": "m" * 90_000}), Outcome(1, Kind.FAILED, error=("E", "boom", "t" * 9000)))
    slim = effect.slim("").properties.headers
    assert slim["x-amqtask-reason"] == "failed"
    assert slim["task"] == "t"
    assert "x-mine" not in slim
    assert "x-amqtask-traceback" not in slim


def test_the_time_of_the_first_failure_survives_a_second_one(effects):
    first = effects.of(delivery(x_amqtask_first_time="2026-01-01"), Outcome(1, Kind.FAILED)).message
    assert first.properties.headers["x-amqtask-first-time"] == "2026-01-01"
    slim = effects.of(delivery(x_amqtask_first_time="2026-01-01"), Outcome(1, Kind.FAILED)).slim("")
    assert slim.properties.headers["x-amqtask-first-time"] == "2026-01-01"


def test_a_retry_after_a_listed_delay_takes_the_queues_own_retry_queue(effects):
    effect = effects.of(delivery(), Outcome(1, Kind.RETRY, delay=5.0, headers={"retries": 1}, exact=True))
    assert (effect.message.exchange, effect.message.routing_key) == ("", "q.retry.5000")
    assert effect.message.properties.headers["retries"] == 1
    assert effect.delay == 5.0


def test_a_retry_after_another_delay_takes_the_ladder_back_to_the_queue(effects):
    effect = effects.of(delivery(), Outcome(1, Kind.RETRY, delay=7.3, headers={"retries": 1}))
    assert effect.message.exchange.startswith("amqtask.delay.")
    assert effect.message.properties.headers["CC"] == ["q"]


def test_a_retry_with_new_arguments_carries_the_new_body(effects):
    effect = effects.of(delivery(), Outcome(1, Kind.RETRY, delay=5.0, headers={"retries": 1}, body=b"new"))
    assert effect.message.body == b"new"


def test_everything_that_is_published_again_has_a_message_id_of_its_own(effects):
    first = delivery(message_id="m-0")
    kinds = [Kind.RETRY, Kind.REQUEUE, Kind.FAILED, Kind.UNKNOWN_TASK]
    ids = {effects.of(first, Outcome(1, kind, delay=5.0)).message.properties.message_id for kind in kinds}
    assert len(ids) == len(kinds)
    assert "m-0" not in ids


def test_an_unknown_task_is_parked_with_growing_delays_and_dead_lettered_at_last(effects):
    parked = effects.of(delivery(), Outcome(1, Kind.UNKNOWN_TASK, text="unknown task 't'"))
    assert parked.delay == 5.0
    assert parked.message.properties.headers["x-amqtask-parked"] == 1
    again = effects.of(delivery(x_amqtask_parked=1), Outcome(1, Kind.UNKNOWN_TASK))
    assert again.delay == 30.0
    last = effects.of(delivery(x_amqtask_parked=2), Outcome(1, Kind.UNKNOWN_TASK, text="unknown task 't'"))
    assert last.dead == "unknown_task"
    assert last.message.properties.headers["x-amqtask-message"] == "unknown task 't'"


def test_a_lost_child_costs_one_of_the_messages_lives(effects):
    first = effects.of_loss(delivery(), "signal 9 (SIGKILL)")
    assert first.message.routing_key == "q"
    assert first.message.properties.headers["x-amqtask-lost"] == 1
    last = effects.of_loss(delivery(x_amqtask_lost=2), "signal 9 (SIGKILL)")
    assert last.dead == "worker_lost"
    assert "signal 9" in last.message.properties.headers["x-amqtask-message"]


def test_a_task_that_was_acked_early_is_not_run_again_after_a_crash(effects):
    early = delivery()
    early.early = True
    assert effects.of_loss(early, "signal 9 (SIGKILL)").dead == "worker_lost"


@pytest.mark.parametrize("delay", [400 * 86_400.0, 1e300, float("inf"), float("nan")])
def test_a_retry_that_no_queue_can_hold_is_a_dead_letter(effects, delay):
    effect = effects.of(delivery(), Outcome(1, Kind.RETRY, delay=delay))
    assert (effect.message.routing_key, effect.dead) == ("q.dead", "unsendable")


@pytest.mark.parametrize("header", [-100, 2**63 - 1, "many"])
def test_an_unknown_task_with_a_strange_count_is_parked_or_dead(effects, header):
    effect = effects.of(delivery(**{"x-amqtask-parked": header}), Outcome(1, Kind.UNKNOWN_TASK))
    assert effect.dead == ("unknown_task" if header == 2**63 - 1 else "")


def test_a_dead_letter_can_be_sent_whatever_its_retries_claim(effects):
    effect = effects.of(delivery(retries=2**63 - 1), Outcome(1, Kind.FAILED))
    for message in (effect.message, effect.slim("")):
        assert seal(message, ConnectionOptions())


def test_task_that_is_not_due_waits_in_the_delay_ladder_and_comes_back_to_its_queue(effects):
    effect = effects.of(delivery(eta="2030-01-01T00:00:00+00:00"), Outcome(1, Kind.EARLY, delay=90.0))
    headers = effect.message.properties.headers
    assert effect.message.exchange == "amqtask.delay.2"
    assert (headers["CC"], headers["eta"]) == (["q"], "2030-01-01T00:00:00+00:00")
    assert (effect.delay, effect.dead) == (90.0, "")


def test_task_that_is_due_later_than_anything_can_wait_comes_back_early_once_more(effects):
    effect = effects.of(delivery(eta="2030-01-01T00:00:00+00:00"), Outcome(1, Kind.EARLY, delay=400 * 86_400.0))
    headers = effect.message.properties.headers
    assert (effect.dead, effect.message.routing_key) == ("", "amqtask-delay.15.15.15.15.15.15.15")
    assert (headers["CC"], headers["eta"]) == (["q"], "2030-01-01T00:00:00+00:00")


@pytest.mark.parametrize("kind", [Kind.RETRY, Kind.EARLY, Kind.UNKNOWN_TASK])
def test_what_waits_for_a_plain_queue_comes_back_as_if_it_had_not_waited(kind):
    effects = Effects(plain_queue, "w@h", [5.0], 3)
    waits = effects.of(delivery(CC=["q"]), Outcome(1, kind, delay=90.0)).message.properties.headers
    assert ("CC" in waits, waits["BCC"]) == (False, ["amqtask.delay.to.q"])


def test_retry_with_options_is_among_what_follows(effects):
    sent = Outgoing("", "other", Properties(), b"")
    effect = effects.of(delivery(), Outcome(1, Kind.RETRY, delay=5.0, after=After(messages=(sent,))))
    assert (effect.message, effect.after.messages, effect.delay) == (None, (sent,), 5.0)
