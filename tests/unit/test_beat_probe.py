"""Whether health checks and the watchdog take a scheduler for frozen."""

from __future__ import annotations

import threading
import time
from functools import partial
from types import SimpleNamespace

import pytest
from waiting import wait_for

from amqtask import clock
from amqtask.beat.pulse import Proof, Pulse
from amqtask.cli.commands.beat import _guarded
from amqtask.worker.background import THREADS
from amqtask.worker.steps import beat as step_module
from amqtask.worker.steps.beat import EmbeddedBeat


def test_a_scheduler_that_does_not_look_at_the_clock_counts_as_frozen_and_one_whose_clock_was_set_does_not(monkeypatch):
    pulse = Pulse(connected=True)
    proof = Proof(pulse, lambda callback: callback())
    assert not proof.problem()
    pulse.ticked(clock.monotonic())
    monkeypatch.setattr(clock, "wall", lambda: time.time() + 3600)
    assert not proof.problem()
    pulse.ticked(clock.monotonic() - 6)
    assert proof.problem() == "no look at the clock for 6 s"


def test_a_scheduler_without_its_broker_proves_itself_by_turns_of_its_loop(at):
    calls = []
    proof = Proof(Pulse(last_tick=1000.0), calls.append)
    assert not proof.problem()
    at(4)
    assert not proof.problem()
    at(30)
    assert proof.problem() == "its loop does not turn for 30 s"
    (turned,) = calls
    turned()
    assert not proof.problem()
    assert len(calls) == 2


class Worker(SimpleNamespace):
    """A worker that is asked for nothing else."""

    def __init__(self) -> None:
        super().__init__(pool=SimpleNamespace(background=THREADS), app=None, failures=[])

    def call_soon(self, callback) -> None:
        callback()

    def fail(self, error) -> None:
        self.failures.append(error)


@pytest.fixture
def begin(monkeypatch):
    """A worker's scheduler whose life is this call; it has been made when that says so."""
    steps = []

    def start(life) -> EmbeddedBeat:
        from amqtask.beat import embedded

        monkeypatch.setattr(embedded, "run_beat", lambda _app, made: life(made))
        steps.append(EmbeddedBeat(Worker()))
        steps[-1].start()
        return steps[-1]

    yield start
    for one in steps:
        one.stopping()


def made_beat(problem: str, ended: threading.Event) -> SimpleNamespace:
    return SimpleNamespace(proof=SimpleNamespace(problem=lambda: problem), stop=ended.set)


def test_a_worker_asks_its_scheduler_for_a_proof_until_it_ends(begin):
    ended = threading.Event()

    def life(made) -> None:
        made(made_beat("no look at the clock for 6 s", ended))
        ended.wait()

    step = begin(life)
    wait_for(lambda: step.problem() == "the scheduler (-B): no look at the clock for 6 s")
    step.stopping()
    assert step.problem() == ""
    assert ended.is_set()
    wait_for(lambda: not step._thread.is_alive())


def test_a_scheduler_that_was_made_after_the_end_has_begun_ends_too(begin):
    ended, gate = threading.Event(), threading.Event()

    def life(made) -> None:
        gate.wait()
        made(made_beat("", ended))
        ended.wait()

    step = begin(life)
    step.stopping()
    gate.set()
    wait_for(lambda: not step._thread.is_alive())


@pytest.mark.parametrize("failure", [ValueError("no"), SystemExit(3)])
def test_a_scheduler_that_has_failed_is_told_until_it_begins_again(begin, monkeypatch, failure, caplog):
    monkeypatch.setattr(step_module, "_AGAIN", 0.05)
    again, ended = threading.Event(), threading.Event()

    def life(made) -> None:
        if not again.is_set():
            raise failure
        made(made_beat("", ended))
        ended.wait()

    step = begin(life)
    wait_for(lambda: step.problem() == f"the scheduler (-B): it has failed: {failure!r}")
    again.set()
    wait_for(lambda: not step.problem())
    assert "The scheduler has failed; it begins again" in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_scheduler_whose_thread_has_died_or_that_does_not_come_up_is_told(begin, at):
    gone = begin(partial(_die))
    wait_for(lambda: gone.problem() == "the scheduler (-B): its thread has ended")
    gate = threading.Event()
    slow = begin(lambda _made: gate.wait())
    assert slow.problem() == ""
    at(31)
    assert slow.problem() == "the scheduler (-B): it does not come up within 30 s"
    slow.stopping()
    gate.set()


def _die(_made) -> None:
    """What no code catches, in a thread."""
    raise _Death


class _Death(BaseException):
    pass


def test_code_that_exits_inside_the_scheduler_is_an_error_and_no_silent_end():
    def leave() -> None:
        raise SystemExit(3)

    running = SimpleNamespace(run=leave, failure=None)
    _guarded(running)()
    assert "has ended the scheduler: SystemExit(3)" in str(running.failure)
