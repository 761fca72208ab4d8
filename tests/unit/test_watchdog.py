"""The watchdog's rules: how long a proof may fail, what the broker must see, and the end of a frozen process."""

from __future__ import annotations

import subprocess
import sys

from amqtask.worker.health.progress import Progress
from amqtask.worker.health.watchdog import EXIT, Patience, missing_consumers
from amqtask.worker.looks import Look


def test_a_proof_fails_for_good_only_after_the_whole_timeout(at):
    patience = Patience(90)
    assert not patience.failed()
    at(89)
    assert not patience.failed()
    at(90)
    assert patience.failed()


def test_a_success_in_between_starts_anew(at):
    patience = Patience(90)
    assert not patience.passed()
    patience.failed()
    at(60)
    assert patience.passed()
    at(120)
    assert not patience.failed()


def test_queues_without_any_consumer_are_named():
    assert missing_consumers({"a": Look(5, 1)}) == ""
    assert missing_consumers({"a": Look(5, 0), "b": Look(0, 2), "c": Look(0, 0)}) == (
        "the broker sees no consumer of a, c"
    )


GUARDED = """
import itertools, time
from amqtask.broker.loop import SelectLoop
from amqtask.worker.health.watchdog import LoopGuard

def leave():
    print("leaving", flush=True)

loop = SelectLoop()
{then}
loop.run()
"""

STUCK = """
def stuck():
    LoopGuard(loop.call_soon_threadsafe, 0.05, 3, leave).start()
    time.sleep(600)

loop.call_later(0, stuck)
"""

ENDLESS = """
guard = LoopGuard(loop.call_soon_threadsafe, 0.05, 10_000, leave)
guard.start()
guard.expect_end(0.2)
"""

TURNING = """
looks = itertools.count()

def turn(tick):
    tick()
    if next(looks) == 30:
        guard.stop()
        loop.call_soon_threadsafe(loop.stop)

guard = LoopGuard(turn, 0.001, 3, leave)
guard.start()
"""


def guarded(then: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", GUARDED.format(then=then)], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_frozen_loop_ends_the_process_with_its_stacks():
    ended = guarded(STUCK)
    assert ended.returncode == EXIT
    assert ended.stdout == "leaving\n"
    assert "the I/O loop does not turn any more" in ended.stderr
    assert "in stuck" in ended.stderr


def test_an_end_that_takes_too_long_is_made_short():
    ended = guarded(ENDLESS)
    assert ended.returncode == EXIT
    assert "the end takes too long" in ended.stderr


def test_a_loop_that_turns_is_left_alone():
    ended = guarded(TURNING)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_an_alarm_comes_once_per_standstill(at):
    progress = Progress(60)
    at(59)
    assert progress.alarm({"q": 3}, 1) is None
    at(60)
    text = progress.alarm({"q": 3, "empty": 0}, 1)
    assert text == "no task has ended for 60 s: 3 messages wait in q (3), 1 are held here"
    at(200)
    assert progress.alarm({"q": 3}, 1) is None
    progress.made()
    assert progress.alarm({"q": 3}, 1) is None
    at(260)
    assert progress.alarm({"q": 3}, 1) is not None


def test_there_is_no_alarm_while_there_is_nothing_to_do(at):
    progress = Progress(60)
    at(500)
    assert progress.alarm({"q": 0}, 0) is None
    at(559)
    assert progress.alarm({"q": 9}, 0) is None
    at(560)
    assert progress.alarm({"q": 9}, 0) is not None
