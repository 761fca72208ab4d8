"""Waiting deliveries that gates take away, queues that come later, and pools that change their size."""

from __future__ import annotations

from worker_messages import delivery

from amqtask.worker.deliveries.ready import Ready
from amqtask.worker.prefetch import AutoPrefetch


def filled() -> Ready:
    ready = Ready({"a": 1, "b": 1}, "strict")
    for number in range(6):
        ready.push(delivery("ab"[number % 2], id=f"id{number}", task="t"))
    return ready


def ids(ready: Ready) -> list[str | None]:
    found = []
    while (one := ready.pop()) is not None:
        found.append(one.id)
    return found


def test_what_is_wanted_is_taken_and_the_rest_keeps_its_order():
    ready = filled()
    taken = ready.take(lambda one: one.id in ("id2", "id5"))
    assert [one.id for one in taken] == ["id2", "id5"]
    assert len(ready) == 4
    assert ids(ready) == ["id0", "id4", "id1", "id3"]


def test_nothing_is_taken_when_nothing_is_wanted():
    ready = filled()
    assert ready.take(lambda _: False) == []
    assert len(ids(ready)) == 6


def test_a_queue_may_come_later():
    ready = Ready({"a": 1}, "fair")
    ready.add("late")
    ready.push(delivery("late", id="x", task="t"))
    ready.push(delivery("a", id="y", task="t"))
    assert sorted(str(one) for one in ids(ready)) == ["x", "y"]


def test_the_prefetch_follows_a_pool_that_grows():
    prefetch = AutoPrefetch(4)
    assert prefetch.next_value() is None
    prefetch.resize(5)
    assert (prefetch.next_value(), prefetch.next_value()) == (5, None)
    for _ in range(50):
        prefetch.observe(1.0)
    prefetch.resize(6)
    assert prefetch.next_value() == 6, "long tasks too: each slot needs a message of its own"
