"""Words of ``amqtask inspect`` and ``amqtask control`` before anybody is asked."""

from __future__ import annotations

import pytest

from amqtask.cli.main import main
from amqtask.cli.remote import _arguments, _block, show
from amqtask.cli.setup import Setup
from amqtask.control.registry import commands
from amqtask.worker.control.commands import load_commands


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["inspect", "actve"], "did you mean 'active'?"),
        (["inspect", "revoke", "id"], "no such command 'revoke'"),
        (["control", "pool_grow", "many"], "'pool_grow' takes [N=1]"),
        (["control", "pool_grow", "1", "2"], "'pool_grow' takes [N=1]"),
        (["control", "rate_limit"], "'rate_limit' takes TASK RATE"),
        (["control", "rate_limit", "m1"], "'rate_limit' takes TASK RATE"),
        (["inspect", "query_task"], "'query_task' takes ID..."),
        (["flower"], "no such command 'flower': use 'amqtask monitor'"),
        (["amqp", "queue.purge", "x"], "no such command 'amqp': use 'amqtask queue'"),
    ],
)
def test_wrong_words_are_a_usage_error(capsys, words, text):
    assert main(words) == 64
    assert text in capsys.readouterr().err


def test_commands_are_listed_by_kind(capsys):
    assert main(["inspect", "--list"]) == 0
    text = capsys.readouterr().out
    assert "active [safe=no]" in text
    assert "rate_limit" not in text
    assert main(["control", "--list"]) == 0
    assert "rate_limit TASK" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "words", "arguments"),
    [
        ("ping", [], {}),
        ("pool_grow", ["2"], {"n": 2}),
        ("time_limit", ["t", "60", "120"], {"task_name": "t", "soft": 60.0, "hard": 120.0}),
        ("time_limit", ["t", "hard=9"], {"task_name": "t", "hard": 9.0}),
        ("revoke", ["a", "b"], {"task_id": ["a", "b"]}),
        ("terminate", ["KILL", "a", "b"], {"signal": "KILL", "task_id": ["a", "b"]}),
        ("revoke_by_stamped_headers", ["user=7"], {"headers": ["user=7"]}),
        ("conf", ["yes"], {"with_defaults": True}),
        ("conf", ["with_defaults=no"], {"with_defaults": False}),
    ],
)
def test_words_become_arguments(name, words, arguments):
    load_commands()
    assert _arguments(commands[name], words) == arguments


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"ok": "pong"}, "-> w@h: OK\n    pong"),
        ({"error": "no"}, "-> w@h: ERROR\n    no"),
        ([], "-> w@h: OK\n    - empty -"),
        (None, "-> w@h: OK\n    - empty -"),
        (["a", {"b": 1}], '-> w@h: OK\n    * a\n    * {"b": 1}'),
        ({"clock": 5}, '-> w@h: OK\n    {\n      "clock": 5\n    }'),
    ],
)
def test_an_answer_is_shown_under_its_node(value, text):
    assert _block("w@h", value) == text


class Answers:
    """An app whose workers answer as they are told."""

    def __init__(self, *values):
        self.values = values

    @property
    def control(self):
        return self

    def stream(self, *_):
        yield from ({f"w{number}@h": value} for number, value in enumerate(self.values))


@pytest.mark.parametrize(
    ("values", "code"),
    [
        (({"error": "no"}, {"error": "no"}), 65),
        (({"error": "no"}, {"ok": "yes"}), 0),
        (([],), 0),
        ((), 69),
    ],
)
def test_a_command_that_every_worker_refuses_has_failed(values, code):
    given = {"destination": (), "timeout": 1.0}
    for as_json in (False, True):
        assert show(Setup(), Answers(*values), "rate_limit", {}, as_json=as_json, **given) == code
