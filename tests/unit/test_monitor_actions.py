"""What the monitor changes: a twin on the command line, a line in the audit log, a refusal when it is read-only."""

from __future__ import annotations

import inspect
import logging
import re
import shlex

import click
import pytest

from amqtask import Amqtask, Queue
from amqtask.cli.main import cli
from amqtask.control.registry import commands as remote
from amqtask.errors import BrokerUnavailable, TopologyError
from amqtask.monitor.actions import Actions, ReadOnly
from amqtask.monitor.dead import DeadDesk
from amqtask.worker.control.commands import load_commands

GIVEN = {
    "who": "ann", "task_id": "t-1", "task": "add", "queue": "work", "worker": "w1@here", "name": "nightly",
    "ids": ["a"], "rate": "1/s", "soft": 1.0, "hard": 2.0, "minimum": 1, "maximum": 2, "n": 1, "terminate": True,
    "send": lambda: None,
}  # fmt: skip
ACTIONS = [name for name, _ in inspect.getmembers(Actions, inspect.isfunction) if not name.startswith("_")]


def call(actions, name):
    wanted = inspect.signature(getattr(Actions, name)).parameters
    return getattr(actions, name)(**{key: value for key, value in GIVEN.items() if key in wanted})


@pytest.fixture
def app():
    """Of a broker where nobody listens."""
    made = Amqtask("m", broker="amqp://127.0.0.1:1/", task_queues=[Queue("work")])
    yield made
    made.close()


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "amqtask.monitor.audit")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "amqtask.monitor.audit"]


@pytest.mark.parametrize("name", ACTIONS)
def test_every_action_has_a_twin_on_the_command_line(name):
    (twin,) = re.findall(r"``amqtask ([^`]+)``", inspect.getdoc(getattr(Actions, name)))
    words, command = shlex.split(twin), cli
    context = click.Context(cli)
    while words and isinstance(command, click.Group):
        command = command.get_command(context, words.pop(0))
        assert command is not None, twin
    load_commands()
    assert all(word in remote for word in words), twin


@pytest.mark.parametrize("name", ACTIONS)
def test_a_read_only_monitor_refuses_each_and_says_who_asked(app, lines, name):
    changed = []
    with pytest.raises(ReadOnly):
        call(Actions(app, DeadDesk(app), lambda: changed.append(1), read_only=True), name)
    (line,) = lines()
    assert line.startswith("ann: amqtask ")
    assert "read-only" in line


def test_one_that_fails_is_written_down_with_the_reason(app, lines):
    changed = []
    actions = Actions(app, DeadDesk(app), lambda: changed.append(1))
    with pytest.raises(TopologyError, match="did you mean 'work'"):
        actions.queue_pause("ann", "wrok")
    (line,) = lines()
    assert line.startswith("ann: amqtask queue pause wrok: not done: ")
    assert changed, "pages would show what was asked before"


def test_a_name_can_not_forge_a_line_of_the_log(app, lines):
    with pytest.raises(ReadOnly):
        Actions(app, DeadDesk(app), lambda: None, read_only=True).revoke("ann\nbob: all is well", "x\n\x1b[31mred")
    (line,) = lines()
    assert "\n" not in line
    assert "\x1b" not in line


def test_nobody_waits_for_a_broker_that_is_known_to_be_away(app, lines):
    """To find it out takes half a minute."""
    actions = Actions(app, DeadDesk(app), lambda: None, lambda: "connection refused")
    with pytest.raises(BrokerUnavailable, match="the broker is away: connection refused"):
        actions.revoke("ann", "t-1")
    (line,) = lines()
    assert line.startswith("ann: amqtask control revoke t-1: not done: the broker is away")
