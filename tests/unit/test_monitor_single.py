"""Questions that are asked once for all who want the answer."""

from __future__ import annotations

import threading

from waiting import wait_for

from amqtask.errors import BrokerUnavailable
from amqtask.monitor import single as single_module
from amqtask.monitor.single import Single


def test_ten_who_ask_at_once_cost_as_much_as_one():
    go, asked = threading.Event(), []

    def ask():
        asked.append(1)
        go.wait(10)
        return 42

    single, answers = Single(ask, life=60), []
    threads = [threading.Thread(target=lambda: answers.append(single.get().value)) for _ in range(10)]
    for thread in threads:
        thread.start()
    wait_for(lambda: asked)
    go.set()
    for thread in threads:
        thread.join(10)
    assert (answers, len(asked)) == ([42] * 10, 1)
    assert (single.get().value, len(asked)) == (42, 1)


def test_what_was_changed_is_asked_anew():
    asked = []
    single = Single(lambda: asked.append(1) or len(asked), life=60)
    assert single.get().value == 1
    single.forget()
    assert single.get().value == 2


def test_what_was_changed_while_an_answer_was_on_its_way_is_asked_once_more_by_the_same_thread():
    """A thread for each change would be many, with a broker that does not answer."""
    go, asked = threading.Event(), []

    def ask():
        asked.append(threading.current_thread())
        go.wait(10)
        return len(asked)

    single, answers = Single(ask, life=60), []
    threads = [threading.Thread(target=lambda: answers.append(single.get().value)) for _ in range(5)]
    for thread in threads:
        thread.start()
        wait_for(lambda: asked)
        single.forget()
    go.set()
    for thread in threads:
        thread.join(10)
    assert (answers, len(asked), len(set(asked))) == ([2] * 5, 2, 1)


def test_who_insists_on_a_new_answer_gets_the_one_on_its_way_or_one_more():
    asked = []
    single = Single(lambda: asked.append(1) or len(asked), life=60)
    assert [single.get(anew=anew).value for anew in (False, False, True)] == [1, 1, 2]


def test_a_broker_that_is_away_leaves_the_last_answer_and_the_reason():
    answers = [1, BrokerUnavailable("gone\nfor good"), KeyError("fault")]

    def ask():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    single = Single(ask, life=0)
    first = single.get()
    assert (first.value, first.error) == (1, None)
    away = single.get()
    assert (away.value, away.error, away.asked) == (1, "gone for good", first.asked)
    assert single.get().error == "KeyError('fault')"


def test_nobody_waits_for_an_answer_that_does_not_come():
    go = threading.Event()
    single = Single(lambda: go.wait(30) and 1, life=60, patience=0.05)
    late = single.get()
    assert late.value is None
    assert "no answer" in late.error
    go.set()
    wait_for(lambda: single.get().value == 1)


def test_after_a_failure_nobody_waits_long_for_the_next_answer(monkeypatch):
    monkeypatch.setattr(single_module, "IMPATIENCE", 0.0)
    go, asked = threading.Event(), []

    def ask():
        asked.append(1)
        if len(asked) == 1:
            raise BrokerUnavailable("it is away")
        go.wait(60)
        return 42

    single = Single(ask, life=0.0, patience=60)
    assert single.get().error == "it is away"
    assert single.get().error == "it is away"
    assert not go.is_set()
    go.set()
    wait_for(lambda: single.get().value == 42)
