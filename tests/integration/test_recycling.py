"""Workers that replace their children after a share of tasks or memory: everything is done once, by several."""

from __future__ import annotations

from collections import Counter

import pytest

pytestmark = pytest.mark.rabbitmq


def test_children_have_their_share_of_tasks_and_nothing_runs_twice(site):
    worker = site.worker("-c", "2", "--max-tasks-per-child", "5")
    labels = [f"note{number}" for number in range(100)]
    for label in labels:
        site.send("note", label)
    site.wait_done(*labels)
    worker.wait_for_log(r"succeeded", len(labels))
    assert worker.stop() == 0
    done = site.events("done")
    assert len(done) == len(labels)
    assert max(Counter(event.pid for event in done).values()) == 5
    assert worker.count(r"is replaced: it has had its share of tasks") >= 18


def test_children_over_the_memory_limit_end_after_their_task(site):
    worker = site.worker("-c", "1", "--max-memory-per-child", "1000")
    labels = [f"pause{number}" for number in range(5)]
    for label in labels:
        site.send("pause", label, 0.01)
    site.wait_done(*labels)
    assert worker.stop() == 0
    done = site.events("done")
    assert len(done) == len(labels)
    assert len({event.pid for event in done}) == len(labels)
    assert worker.count(r"is replaced: it holds \d+ KiB") >= len(labels) - 1


def test_shutdown_in_the_middle_of_recycling_loses_nothing(site):
    labels = [f"pause{number}" for number in range(60)]
    for label in labels:
        site.send("pause", label, 0.05)
    worker = site.worker("-c", "2", "--max-tasks-per-child", "1")
    site.wait_done(labels[3])
    assert worker.stop() == 0
    site.worker("-c", "2")
    site.wait_done(*labels)
    assert set(site.labels("done").values()) == {1}
