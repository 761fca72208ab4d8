"""The ``event`` of each log line about a task, and the page that lists them."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from worker_messages import delivery

from amqtask.execution.job import Kind, Outcome
from amqtask.topology.declarations import Queue
from amqtask.worker.custody import narrate
from amqtask.worker.deliveries.outcome import Effects

PAGE = Path(__file__).parents[2] / "docs/how-to/watch-workers.md"


@pytest.fixture
def events(caplog):
    """What has been logged with which event: name -> lines."""
    caplog.set_level(logging.INFO, "amqtask.task")

    def found():
        return {record.event: record for record in caplog.records}

    return found


def narrate_everything():
    ends = narrate.Ends(SimpleNamespace(call_soon_threadsafe=lambda _: None))
    made = delivery()
    for dropped in ((), (Kind.FAILED,)):
        effects = Effects(Queue, "w@h", [5.0], 3, dropped)
        for kind in Kind:
            for error in (None, ("ValueError", "no", "Traceback ...")):
                outcome = Outcome(made.key, kind, 0.1, "text", error)
                ends.add(made, outcome, effects.of(made, outcome))
        for message in (made, delivery(x_amqtask_lost=2)):
            narrate.lost(message, effects.of_loss(message, "signal 9"), "signal 9")
    ends.write()
    narrate.received(made)
    narrate.duplicate(made, "running")
    narrate.unsendable(made, "too large")


def test_every_event_of_the_log_is_an_identifier_and_documented(events):
    narrate_everything()
    paragraph = PAGE.read_text().partition("`--log-format json`")[2].partition("\n- ")[0]
    assert set(events()) == set(re.findall("`(task-[a-z]+)`", paragraph))


def test_a_task_whose_followup_can_never_be_sent_is_a_failure_with_its_reason(events):
    narrate.unsendable(delivery(), "too large")
    assert events()["task-failed"].reason == "unsendable"
