"""Which waiting message runs next."""

from __future__ import annotations

from collections import Counter

from worker_messages import delivery

from amqtask.worker.deliveries.ready import Ready


def fill(ready, queue, count, **fields):
    made = [delivery(queue, **fields) for _ in range(count)]
    for one in made:
        ready.push(one)
    return made


def pop_all(ready):
    popped = []
    while (one := ready.pop()) is not None:
        popped.append(one)
    return popped


def test_messages_of_one_queue_run_first_come_first_served():
    ready = Ready({"a": 1}, "fair")
    made = fill(ready, "a", 5)
    assert pop_all(ready) == made


def test_higher_priority_runs_first_and_equal_priority_keeps_its_order():
    ready = Ready({"a": 1}, "fair")
    low, high, middle = (
        fill(ready, "a", 2, priority=1),
        fill(ready, "a", 2, priority=9),
        fill(ready, "a", 2, priority=5),
    )
    assert pop_all(ready) == [*high, *middle, *low]


def test_strict_order_serves_the_first_queue_until_it_is_empty():
    ready = Ready({"a": 1, "b": 100}, "strict")
    second, first = fill(ready, "b", 3), fill(ready, "a", 3)
    assert pop_all(ready) == [*first, *second]


def test_weighted_order_shares_by_weight_and_starves_nobody():
    ready = Ready({"a": 3, "b": 1}, "weighted")
    fill(ready, "a", 300)
    fill(ready, "b", 300)
    first = [ready.pop().queue for _ in range(200)]
    assert Counter(first) == {"a": 150, "b": 50}
    assert all("b" in first[start : start + 4] for start in range(0, 200, 4))


def test_fair_order_ignores_weights():
    ready = Ready({"a": 9, "b": 1}, "fair")
    fill(ready, "a", 50)
    fill(ready, "b", 50)
    assert Counter(ready.pop().queue for _ in range(40)) == {"a": 20, "b": 20}


def test_an_idle_queue_saves_up_no_credit():
    ready = Ready({"a": 1, "b": 1}, "weighted")
    fill(ready, "a", 100)
    for _ in range(50):
        ready.pop()
    fill(ready, "b", 100)
    assert Counter(ready.pop().queue for _ in range(20)) == {"a": 10, "b": 10}


def test_clear_takes_everything_in_the_order_of_arrival():
    ready = Ready({"a": 1}, "fair")
    made = [*fill(ready, "a", 2, priority=0), *fill(ready, "a", 2, priority=9)]
    assert ready.clear() == made
    assert len(ready) == 0
    assert ready.pop() is None
