"""Answers in memory: bounded, expiring, told to who waits from whatever thread."""

from __future__ import annotations

import logging
import os
import threading

import pytest

from amqtask import clock
from amqtask.broker.reply_box import ReplyBox
from amqtask.broker.reply_queue import ReplyQueue


def box(expires: float = 100.0, limit: int = 10_000_000) -> ReplyBox:
    return ReplyBox(expires, limit, lambda old, new: old != b"final" or new == b"final")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    time = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: time[0])
    return time


def test_the_newest_answer_of_a_task_is_kept_unless_the_older_one_counts_more():
    kept = box()
    for body in (b"a", b"b"):
        kept.put("t", body)
    assert kept.get(["t", "other"]) == {"t": b"b"}
    kept.put("t", b"final")
    kept.put("t", b"late")
    assert kept.get(["t"]) == {"t": b"final"}


def test_a_watch_tells_what_was_there_and_then_what_comes():
    kept = box()
    kept.put("t", b"a")
    watch = kept.watch(["t", "u"])
    assert watch.take() == {"t": b"a"}
    assert watch.take() == {}
    kept.put("u", b"b")
    kept.put("u", b"c")
    kept.put("x", b"nobody watches")
    assert watch.take() == {"u": b"c"}
    watch.close()
    watch.close()
    kept.put("t", b"d")
    assert watch.take() == {}


def test_an_older_answer_that_comes_again_is_told_as_what_counts():
    """Its first telling may have been lost with a thread that was interrupted."""
    kept = box()
    kept.put("t", b"final")
    watch = kept.watch(["t"])
    watch.take()
    kept.put("t", b"again")
    assert watch.take() == {"t": b"final"}


def test_whoever_waits_is_woken_by_news_and_at_once_when_there_are_some():
    kept = box()
    watch = kept.watch(["t"])
    woken = threading.Event()
    watch.arm(woken.set)
    assert not woken.is_set()
    thread = threading.Thread(target=kept.put, args=("t", b"a"))
    thread.start()
    thread.join()
    assert woken.is_set()
    again = threading.Event()
    watch.arm(again.set)
    assert again.is_set()
    watch.disarm()
    watch.take()
    kept.put("t", b"b")
    assert watch.take() == {"t": b"b"}


def test_expired_answers_go(now: list[float]):
    kept = box(expires=10)
    kept.put("old", b"a")
    now[0] += 6
    kept.put("young", b"b")
    now[0] += 6
    assert kept.get(["old", "young"]) == {"young": b"b"}


def test_answers_that_never_expire_stay(now: list[float]):
    kept = box(expires=0)
    kept.put("old", b"a")
    now[0] += 1e9
    assert kept.get(["old"]) == {"old": b"a"}


def test_too_many_unread_answers_cost_the_oldest_with_a_warning_now_and_then(
    now: list[float], caplog: pytest.LogCaptureFixture
):
    kept = box(limit=100_000)
    for number in range(200):
        kept.put(str(number), bytes(1000))
    present = [number for number in range(200) if kept.get([str(number)])]
    assert present == list(range(present[0], 200))
    assert 70 <= len(present) <= 100
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "answers that nobody has read were dropped" in caplog.text
    now[0] += 61
    for number in range(200):
        kept.put(f"more {number}", bytes(1000))
    assert len(caplog.records) == 2


def test_answers_that_were_read_go_without_a_word(caplog: pytest.LogCaptureFixture):
    kept = box(limit=100_000)
    for number in range(10_000):
        kept.put(str(number), bytes(1000))
        assert kept.get([str(number)])
    assert not kept.get(["0"])
    assert kept.get(["9999"])
    assert caplog.records == []


def test_a_single_answer_above_the_limit_is_kept():
    kept = box(limit=10)
    kept.put("t", bytes(1000))
    assert kept.get(["t"])


def test_forgotten_answers_are_gone():
    kept = box()
    kept.put("t", b"a")
    kept.forget(["t", "never there"])
    assert kept.get(["t"]) == {}


def test_the_child_of_a_fork_has_a_box_that_works_whoever_held_its_lock():
    kept = box()
    kept.put("t", b"a")
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with kept.lock:
            held.set()
            release.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    pid = os.fork()
    if pid == 0:
        kept.put("u", b"b")
        os._exit(0 if kept.get(["t", "u"]) == {"t": b"a", "u": b"b"} else 1)
    release.set()
    thread.join()
    assert os.waitpid(pid, 0)[1] == 0


def test_the_queue_has_another_name_after_a_fork():
    queue = ReplyQueue(box(), 10)
    assert not queue.wanted
    name = queue.name
    assert queue.wanted
    assert queue.inherited_before is None
    pid = os.fork()
    if pid == 0:
        fine = not queue.wanted and queue.inherited_before is not None and queue.name != name
        os._exit(0 if fine else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert queue.name == name


@pytest.mark.parametrize(
    ("expires", "arguments"),
    [
        (0, {"x-expires": 86_400_000}),
        (0.0001, {"x-expires": 86_400_000, "x-message-ttl": 1}),
        (200_000, {"x-expires": 200_000_000, "x-message-ttl": 200_000_000}),
        (1e9, {"x-expires": 4_294_967_295, "x-message-ttl": 4_294_967_295}),
    ],
)
def test_the_queue_lives_as_long_as_its_answers_and_a_day_at_least(expires: float, arguments: dict[str, int]):
    assert dict(ReplyQueue(box(), expires).step.arguments) == arguments
