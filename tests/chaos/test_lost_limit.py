"""The strictest limit for messages that take their workers down."""

from __future__ import annotations

import signal

import pytest

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def limited(site, monkeypatch):
    monkeypatch.setenv("AMQTASK_WORKER_LOST_MAX_DELIVERIES", "1")
    return site


def test_message_that_a_worker_returned_unstarted_is_no_dead_letter(limited):
    for label in ("started", "waiting"):
        limited.send("hold", label)
    first = limited.worker("-P", "threads", "-c", "1", "--prefetch", "2")
    limited.wait_event("start", "started")
    limited.wait_ready("work", 0)
    first.send_signal(signal.SIGTERM)
    limited.wait_ready("work", 1)
    limited.open_gate()
    assert first.wait() == 0
    second = limited.worker("-P", "threads", "-c", "1")
    limited.wait_done("started", "waiting")
    assert second.stop() == 0
    assert limited.dead() == []


def test_task_that_ends_its_worker_is_dead_after_the_second(limited):
    limited.send("die", "poison", "exit", 99)
    for _ in range(2):
        assert limited.worker("-P", "solo", ready=False).wait() == 1
    last = limited.worker("-P", "solo")
    (dead,) = limited.wait_dead(1)
    assert dead.reason == "worker_lost"
    assert last.stop() == 0
