"""The reconnect policy: order of failover, backoff, jitter."""

from __future__ import annotations

import pytest

from amqtask.broker.reconnect import ReconnectPolicy
from amqtask.broker.url import parse_urls
from amqtask.errors import ConfigError

URLS = parse_urls("amqp://a;amqp://b;amqp://c")


def hosts(policy: ReconnectPolicy, count: int) -> list[str]:
    return [policy.next(0.0)[0].host for _ in range(count)]


def test_round_robin_tries_every_broker_in_turn():
    assert hosts(ReconnectPolicy(URLS), 7) == ["a", "b", "c", "a", "b", "c", "a"]


def test_every_broker_is_tried_once_before_any_waiting():
    policy = ReconnectPolicy(URLS, spread=lambda: 1.0)
    assert [policy.next(0.0)[1] for _ in range(5)] == [0.0, 0.0, 0.0, 0.2, 0.2]


def test_waiting_doubles_with_each_round_up_to_the_maximum():
    policy = ReconnectPolicy(URLS[:1], initial=1.0, maximum=5.0, spread=lambda: 1.0)
    assert [policy.next(0.0)[1] for _ in range(6)] == [0.0, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_waiting_is_spread_over_the_upper_half():
    low = ReconnectPolicy(URLS[:1], initial=1.0, spread=lambda: 0.0)
    low.next(0.0)
    assert low.next(0.0)[1] == 0.5


def test_a_stable_connection_ends_the_backoff():
    policy = ReconnectPolicy(URLS[:1], stable=5.0, spread=lambda: 1.0)
    for _ in range(5):
        policy.next(0.0)
    policy.succeeded(100.0)
    assert policy.next(106.0)[1] == 0.0


def test_a_connection_that_breaks_at_once_does_not():
    policy = ReconnectPolicy(URLS[:1], initial=1.0, stable=5.0, spread=lambda: 1.0)
    for _ in range(3):
        policy.next(0.0)
    policy.succeeded(100.0)
    assert policy.next(101.0)[1] == 4.0


def test_round_robin_comes_back_to_the_broker_that_served_last():
    policy = ReconnectPolicy(URLS)
    assert hosts(policy, 2) == ["a", "b"]
    policy.succeeded(0.0)
    assert policy.next(100.0)[0].host == "b"
    assert policy.next(100.0)[0].host == "c"


def test_priority_starts_at_the_first_after_every_loss():
    policy = ReconnectPolicy(URLS, "priority")
    hosts(policy, 2)
    policy.succeeded(0.0)
    assert [policy.next(100.0)[0].host for _ in range(3)] == ["a", "b", "c"]


def test_shuffle_tries_every_broker_once_per_round():
    policy = ReconnectPolicy(URLS, "shuffle")
    for _ in range(20):
        assert sorted(hosts(policy, 3)) == ["a", "b", "c"]


def test_a_long_outage_does_not_overflow():
    policy = ReconnectPolicy(URLS[:1], maximum=10.0, spread=lambda: 1.0)
    assert [policy.next(0.0)[1] for _ in range(5000)][-1] == 10.0


def test_an_unknown_strategy_is_refused():
    with pytest.raises(ConfigError, match="round-robin"):
        ReconnectPolicy(URLS, "random")  # type: ignore[arg-type]
