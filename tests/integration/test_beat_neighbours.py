"""Schedulers of several programs on one log: a mistake that none of them can see by itself, so they tell."""

from __future__ import annotations

from contextlib import closing

import pytest
from beats import QUEUE, beating, leads, new_app
from waiting import wait_for

from amqtask import Amqtask, Queue
from amqtask.beat import service

pytestmark = pytest.mark.rabbitmq


def test_two_apps_in_one_log_are_told(vhost_url, caplog):
    schedule = {"tick": {"task": "tick", "schedule": 60}}
    app, other = (new_app(vhost_url, schedule, beat_queue="shared") for _ in range(2))
    other.main = "other"
    with closing(app), closing(other):
        with beating(app) as beat:
            wait_for(lambda: leads(beat))
            with beating(other):
                wait_for(lambda: "Another app, other, shares" in caplog.text)
        with beating(other):
            wait_for(lambda: "was the scheduler's of another app, beats" in caplog.text)
    assert "no name of its own" not in caplog.text


def test_two_programs_without_a_name_are_told_that_only_the_entries_of_one_are_sent(vhost_url, caplog):
    def program(name):
        schedule = {name: {"task": "tick", "schedule": 3600.0}}
        return Amqtask(broker=vhost_url, beat_schedule=schedule, task_queues=[Queue(QUEUE, type="classic")])

    first, second = program("own"), program("theirs")
    with closing(first), closing(second):
        with beating(first) as beat:
            wait_for(lambda: leads(beat))
            assert "The app has no name of its own" in caplog.text
            with beating(second):
                wait_for(lambda: "not sent now: theirs; not known there: own" in caplog.text)
                (theirs,) = second.schedules.list()
                (own,) = first.schedules.list()
                assert (theirs.pending, own.pending) == (True, False)
        (theirs,) = second.schedules.list()
        assert not theirs.pending  # nobody leads


def test_what_every_app_without_a_name_is_called_is_known_here():
    from amqtask.contrib.celery import Celery

    assert {Amqtask().main, Celery().main} == service._UNNAMED
