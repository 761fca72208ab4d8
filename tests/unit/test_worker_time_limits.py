"""Time limits by what was said about them, and the memory of a family of processes."""

from __future__ import annotations

import os
from subprocess import DEVNULL, PIPE, Popen

import pytest
from limit_parts import app_with
from worker_messages import delivery

from amqtask import ConfigError
from amqtask.worker.limits.time import TimeLimits
from amqtask.worker.process.memory import family, family_memory


class TestTimeLimits:
    @pytest.fixture
    def limits(self):
        app = app_with(
            task_time_limit=100, task_soft_time_limit=90, own={"time_limit": 10, "soft_time_limit": 5}, plain={}
        )
        return TimeLimits(app.tasks, app.settings)

    @pytest.mark.parametrize(
        ("task", "header", "expected"),
        [
            ("plain", None, (100, 90)),
            ("own", None, (10, 5)),
            ("own", [3, None], (3, None)),
            ("own", [None, 2], (10, 2)),
            ("own", [20, 15], (20, 15)),
            ("own", ["7.5", "1.5"], (7.5, 1.5)),
            ("own", [0, 0], (10, 5)),
            ("nobody's", [None, None], (100, 90)),
            ("own", "garbage", (10, 5)),
            ("own", [-1, 2], (10, 5)),
            ("own", ["nan", {}], (10, 5)),
            ("own", [float("inf"), 2], (10, 2)),
            ("own", [1, 2, 3], (10, 5)),
            ("own", 17, (10, 5)),
        ],
    )
    def test_the_message_counts_before_the_task_and_the_task_before_the_setting(self, limits, task, header, expected):
        assert limits.of(delivery(task=task, timelimit=header)) == expected

    def test_what_is_said_at_run_time_counts_before_the_task(self, limits):
        limits.set("own", 30, 20)
        assert limits.of(delivery(task="own")) == (30, 20)
        assert limits.of(delivery(task="own", timelimit=[3, 1])) == (3, 1)
        assert limits.describe("own") == {"time_limit": 30, "soft_time_limit": 20}
        limits.set("own")
        assert limits.of(delivery(task="own")) == (100, 90)
        with pytest.raises(ConfigError):
            limits.set("own", 1, 2)

    def test_a_message_without_a_task_has_the_limits_of_the_settings(self, limits):
        assert limits.of(delivery(task=7)) == (100, 90)


def test_the_memory_of_a_family_is_measured():
    with Popen(["sleep", "30"], stdin=DEVNULL, stdout=PIPE) as child:
        try:
            assert child.pid in family(os.getpid())
            at_most, exactly = family_memory(os.getpid(), 2**40), family_memory(os.getpid(), 0)
            assert at_most >= exactly > 5_000
            assert family_memory(2**22 + 1, 0) == 0
        finally:
            child.kill()
