"""How many messages a worker holds."""

from __future__ import annotations

from amqtask.worker.prefetch import AutoPrefetch


def settle(prefetch, runtime, times=200):
    for _ in range(times):
        prefetch.observe(runtime)
    return prefetch.next_value()


def test_nothing_is_known_at_first_so_each_slot_has_one():
    prefetch = AutoPrefetch(4)
    assert prefetch.value == 4
    assert prefetch.next_value() is None


def test_long_tasks_are_never_hoarded():
    assert settle(AutoPrefetch(4), 3.0) is None


def test_short_tasks_get_a_larger_window_with_an_upper_bound():
    prefetch = AutoPrefetch(2)
    assert settle(prefetch, 0.001) == 40
    assert settle(prefetch, 0.000001) == 256
    assert settle(AutoPrefetch(100), 0.000001) == 512


def test_small_changes_are_not_worth_a_new_consumer():
    prefetch = AutoPrefetch(2)
    settle(prefetch, 0.001)
    assert settle(prefetch, 0.0008) is None


def test_a_task_that_became_slow_shrinks_the_window():
    prefetch = AutoPrefetch(2)
    settle(prefetch, 0.001)
    assert settle(prefetch, 2.0) == 2
