"""What a worker answers to requests, without a broker."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from amqtask import clock
from amqtask.control import control_command, inspect_command
from amqtask.control.messages import Names, Request, request_message
from amqtask.control.registry import commands
from amqtask.errors import ConfigError
from amqtask.wire.lamport import LamportClock
from amqtask.wire.message import Properties
from amqtask.worker.control.commands import load_commands
from amqtask.worker.control.dispatch import Dispatcher

NAMES = Names("celery")


@pytest.fixture
def declared():
    load_commands()
    before = dict(commands)
    yield
    commands.clear()
    commands.update(before)


@pytest.fixture
def ask(declared):
    panel = SimpleNamespace(app=None, hostname="w1@h", clock=LamportClock(), worker=None)
    dispatcher = Dispatcher(panel, NAMES.replies, ["json"])

    def ask(method, exchange=NAMES.replies, **more):
        arguments = more.pop("arguments", {})
        reply_to = None if exchange is None else (exchange, "oid")
        message = request_message(NAMES, Request(method, arguments, ticket="t", reply_to=reply_to, **more))
        answer = dispatcher.take(message.properties, message.body)
        return None if answer is None else json.loads(answer.body)["w1@h"]

    ask.panel, ask.dispatcher = panel, dispatcher
    return ask


def test_a_command_is_answered(ask):
    assert ask("ping") == {"ok": "pong"}


def test_nobody_answers_for_others(ask):
    assert ask("ping", destination=["w2@h"]) is None


def test_a_command_without_an_address_is_done_and_not_answered(ask):
    done = []
    control_command(name="mark")(lambda panel: done.append(panel.hostname))
    assert ask("mark", exchange=None) is None
    assert done == ["w1@h"]


def test_an_answer_that_should_go_to_another_exchange_is_refused_with_its_command(ask):
    done = []
    control_command(name="mark")(lambda panel: done.append(1))
    assert ask("mark", exchange="") is None
    assert not done


def test_an_unknown_command_is_an_error_as_celery_words_it(ask):
    assert ask("nosuch") == {"error": "KeyError('nosuch')"}


def test_wrong_arguments_are_an_error_as_celery_words_it(ask):
    text = "rate_limit() missing 2 required positional arguments: 'task_name' and 'rate_limit'"
    assert ask("rate_limit", arguments={"foo": 1}) == {"error": f"TypeError({text!r})"}


def test_whatever_a_command_raises_is_an_error(ask):
    def fails(panel):
        raise ConfigError("can't be") if panel.clock.value % 2 else ValueError("no")

    inspect_command(name="fails")(fails)
    assert {str(ask("fails")), str(ask("fails"))} <= {str({"error": "can't be"}), str({"error": "ValueError('no')"})}


def test_a_request_that_is_long_over_is_not_done(ask):
    assert ask("ping", expires=clock.wall() - 60) is None
    assert ask("ping", expires=clock.wall() - 2) == {"ok": "pong"}, "clocks of two machines may differ"


def test_the_clock_moves_past_the_sender_s(ask):
    ask("ping", clock=100)
    assert ask.panel.clock.value > 100


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"\x80\x04", b'{"method": {}}'])
def test_garbage_is_not_answered(ask, body):
    assert ask.dispatcher.take(Properties("application/json", "utf-8"), body) is None
    assert ask.dispatcher.take(Properties("application/x-python-serialize"), body) is None
    assert ask.dispatcher.take(Properties(None, None, None), body) is None


def test_a_command_of_ones_own_is_declared_by_a_decorator(ask):
    @inspect_command(args=[("n", int)], signature="N")
    def double(panel, n):
        """Twice as much.

        More about it.
        """
        return {"result": 2 * n}

    assert ask("double", arguments={"n": 21}) == {"result": 42}
    command = commands["double"]
    assert (command.kind, command.help, command.signature) == ("inspect", "Twice as much.", "N")


def test_every_command_of_celery_is_there(declared):
    theirs = {
        "ping", "stats", "registered", "active", "reserved", "scheduled", "query_task", "active_queues", "conf",
        "report", "revoked", "clock", "hello", "memsample", "memdump", "objgraph", "revoke", "terminate",
        "revoke_by_stamped_headers", "rate_limit", "time_limit", "pool_grow", "pool_shrink", "autoscale",
        "pool_restart", "add_consumer", "cancel_consumer", "enable_events", "disable_events", "heartbeat", "election",
        "shutdown",
    }  # fmt: skip
    assert theirs <= commands.keys()
    assert {"stack", "limits", "prefetch", "pause", "resume", "children", "connections"} <= commands.keys()
    assert all(command.help for command in commands.values())


def test_every_command_is_in_the_guide(declared):
    text = (Path(__file__).parents[2] / "docs/how-to/control-workers.md").read_text()
    own = [name for name, command in commands.items() if command.function.__module__.startswith("amqtask.")]
    missing = [name for name in own if f"`{name}`" not in text and f"`{name} " not in text]
    assert missing == ["hello"], "which only Celery's workers ask"
