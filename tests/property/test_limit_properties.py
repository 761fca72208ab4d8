"""Rates: a bucket lets through what it says and no more, and the tokens of a shared rate are no more either."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from amqtask.tasks.limits import Rate, parse_rate
from amqtask.worker.limits.bucket import Bucket
from amqtask.worker.limits.layout import rate_layout

rates = st.builds(Rate, st.integers(1, 5000), st.sampled_from([1.0, 2.5, 60.0, 3600.0]))


@given(rates, st.lists(st.floats(0, 2, allow_nan=False), min_size=1, max_size=60))
def test_a_bucket_never_lets_more_through_in_any_span_than_its_rate_and_capacity(rate, gaps):
    now, bucket, taken = 0.0, Bucket(rate, 0.0), []
    for gap in gaps:
        now += gap
        while len(taken) < 500 and bucket.take(now):
            taken.append(now)
    for first in range(len(taken)):
        for last in range(first, len(taken), 7):
            most = bucket.capacity + (taken[last] - taken[first]) * rate.per_second
            assert last - first + 1 <= most + 1e-6


@given(rates, st.integers(1, 200))
def test_whoever_waits_as_long_as_he_is_told_gets_a_token_each_time(rate, takes):
    now, bucket = 0.0, Bucket(rate, 0.0)
    for _ in range(takes):
        now += bucket.wait(now) + 1e-6
        assert bucket.take(now)
    assert now <= takes / rate.per_second + takes * 1e-5


@given(rates)
def test_a_clock_that_stands_still_gives_nothing_beyond_the_capacity(rate):
    bucket = Bucket(rate, 5.0)
    assert sum(bucket.take(5.0) for _ in range(1000)) == int(bucket.capacity)


@given(rates)
def test_the_tokens_of_a_shared_rate_are_no_more_than_it_says_in_any_period(rate):
    layout = rate_layout("t", rate)
    milliseconds = layout.steps[0].arguments["x-message-ttl"]
    assert 1 <= layout.count <= 1000
    assert layout.count / milliseconds * 1000 <= rate.per_second * (1 + 1e-9)
    # whole shorter periods fit into the longer one, so a sliding window of it holds no more either
    assert layout.count * -(-rate.period * 1000 // milliseconds) <= rate.count * 1.01 + layout.count


@given(st.text(min_size=1, max_size=400))
def test_the_queues_of_a_limit_have_names_that_amqp_takes(task):
    for step in rate_layout(task, Rate(1)).steps:
        assert len(step.name.encode("utf-8", "replace")) <= 255


@given(st.integers(1, 10**6), st.sampled_from("smh"))
def test_a_rate_is_read_back_as_it_is_shown(count, unit):
    rate = parse_rate(f"{count}/{unit}")
    assert parse_rate(str(rate)) == rate
