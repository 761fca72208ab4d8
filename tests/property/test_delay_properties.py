"""The ladder's arithmetic: never early, less than a tick late, at most seven hops, one way out."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from amqtask.topology.declarations import ExchangeBind, Queue, QueueBind, QueueDeclare, RetryPolicy
from amqtask.topology.delays import (
    LEVELS,
    LONGEST,
    TICK,
    Target,
    delay_target,
    exact_delays,
    ladder_level,
    ladder_steps,
    retry_name,
    retry_target,
)
from amqtask.topology.matching import topic_matches

delays = st.timedeltas(min_value=timedelta(0), max_value=LONGEST) | st.timedeltas(
    min_value=timedelta(0), max_value=timedelta(seconds=60)
)
STEPS = ladder_steps(LEVELS - 1)
QUEUES = {step.name: step.arguments for step in STEPS if isinstance(step, QueueDeclare)}


def travel(target: Target) -> tuple[int, list[str], str]:
    """Follow a message through the declared ladder: milliseconds waited, queues passed, last exchange."""
    exchange, waited, passed = target.exchange, 0, []
    while exchange:
        queues = [
            step.queue
            for step in STEPS
            if isinstance(step, QueueBind)
            and step.exchange == exchange
            and topic_matches(step.routing_key, target.routing_key)
        ]
        onward = [
            step.destination
            for step in STEPS
            if isinstance(step, ExchangeBind)
            and step.source == exchange
            and topic_matches(step.routing_key, target.routing_key)
        ]
        assert len(queues) + len(onward) == 1, "exactly one way on"
        if onward:
            exchange = onward[0]
            continue
        passed.append(queues[0])
        waited += QUEUES[queues[0]]["x-message-ttl"]
        exchange = QUEUES[queues[0]]["x-dead-letter-exchange"]
    return waited, passed, exchange


@given(delays)
def test_a_message_waits_at_least_its_delay_and_less_than_a_tick_more(delay: timedelta) -> None:
    target = delay_target(["q"], delay)
    waited, passed, exchange = travel(target)
    assert delay <= timedelta(milliseconds=waited) < delay + TICK
    assert 1 <= len(passed) <= LEVELS
    assert exchange == ""
    assert target.headers == {"CC": ["q"]}


@given(delays)
def test_a_message_enters_at_the_highest_digit_in_use(delay: timedelta) -> None:
    target = delay_target(["q"], delay)
    level = ladder_level(target.exchange)
    assert level is not None
    digits = target.routing_key.split(".")[1:]
    assert len(digits) == LEVELS
    assert all(digit == "0" for digit in digits[: LEVELS - 1 - level])
    assert level == 0 or digits[LEVELS - 1 - level] != "0"
    # what a producer declares when it meets the level for the first time is all that the message needs
    declared = {step.name for step in ladder_steps(level) if isinstance(step, QueueDeclare)}
    assert set(travel(target)[1]) <= declared


@given(st.text(min_size=1), st.integers(0, LEVELS - 1))
def test_no_target_queue_matches_a_rung(queue: str, level: int) -> None:
    if queue.startswith("amqtask-delay."):
        return
    patterns = [step.routing_key for step in ladder_steps(level) if isinstance(step, QueueBind)]
    assert not any(topic_matches(pattern, queue) for pattern in patterns)


@given(st.lists(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=1)), max_size=5), st.booleans())
def test_each_exact_retry_has_the_queue_that_it_is_sent_to(listed: list[timedelta], jittered: bool) -> None:
    queue = Queue("q", retry=RetryPolicy(tuple(listed), jitter=0.1 if jittered else 0.0))
    names = {retry_name("q", delay) for delay in exact_delays(queue)}
    for delay in listed:
        target = retry_target(queue, delay, exact=True)
        if jittered or delay <= timedelta(0):
            assert target.exchange
        else:
            assert (target.exchange, target.routing_key in names) == ("", True)
