"""`amqtask result`: what became of a task, from a store that other processes write."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from command_line import Shell, new_shell

from amqtask.config.settings import Settings
from amqtask.results.base import Record
from amqtask.results.failures import to_document
from amqtask.results.meta import Meta, dump
from amqtask.results.open import open_backend
from amqtask.wire.ids import new_id
from amqtask.wire.serializers.json import SERIALIZER


@pytest.fixture
def shell(tmp_path, monkeypatch) -> Shell:
    """A folder with an app; no broker is needed."""
    monkeypatch.setenv("AMQTASK_RESULT_BACKEND", f"file://{tmp_path}/results")
    return new_shell(tmp_path, "amqp://127.0.0.1:1/")


@pytest.fixture
def put(tmp_path):
    """Store what a worker would."""
    backend = open_backend(f"file://{tmp_path}/results", Settings())

    def store(task_id: str, state: str, result: object = None, **facts) -> None:
        stored = to_document(result) if isinstance(result, BaseException) else result
        document, *_ = dump(Meta(task_id, state, stored, **facts), SERIALIZER)
        backend.store([Record(task_id, state, document)])

    yield store
    backend.close()


def test_a_success_shows_what_was_returned_and_where(shell, put):
    task_id = new_id()
    put(
        task_id, "SUCCESS", {"sum": 5}, name="shop.add", worker="w1@host", queue="emails", runtime=0.25,
        date_done="2026-11-21T10:00:00+00:00", children=[[["next", None], None]],
    )  # fmt: skip
    lines = dict(line.split(None, 1) for line in shell.run("result", task_id).stdout.splitlines())
    assert lines == {
        "id": task_id, "task": "shop.add", "state": "SUCCESS", "result": '{"sum": 5}', "worker": "w1@host",
        "queue": "emails", "runtime": "0.250 s", "ended": "2026-11-21T10:00:00+00:00", "children": "next",
    }  # fmt: skip
    document = shell.json("result", task_id)
    assert (document["status"], document["result"], document["task_id"]) == ("SUCCESS", {"sum": 5}, task_id)


def test_a_failure_shows_the_error_and_its_traceback_and_exits_with_1(shell, put):
    put("t", "FAILURE", ValueError("no such address"), traceback="File shop.py, line 9\n")
    out = shell.run("result", "t", code=1).stdout
    assert "error     ValueError: no such address\n" in out
    assert out.endswith("\nFile shop.py, line 9\n")
    assert shell.json("result", "t", code=1)["result"]["exc_type"] == "ValueError"


def test_an_app_says_where_results_are(shell, put, tmp_path, monkeypatch):
    monkeypatch.delenv("AMQTASK_RESULT_BACKEND")
    app = f'from amqtask import Amqtask\napp = Amqtask("shop", backend="file://{tmp_path}/results")\n'
    (tmp_path / "other.py").write_text(app)
    put("t", "SUCCESS")
    assert "state     SUCCESS\nresult    null\n" in shell.run("-A", "other", "result", "t").stdout


def test_a_task_of_which_nothing_is_known(shell, monkeypatch):
    assert shell.run("result", "t").stdout == "id        t\nstate     PENDING\n"
    monkeypatch.setenv("AMQTASK_RESULT_TRACK_SENT", "1")
    ended = shell.run("result", new_id(), code=65)
    assert "state     UNKNOWN" in ended.stdout
    assert "nothing is stored" in ended.stderr
    assert "none with this id was sent" in shell.run("result", "--watch", new_id(), code=65).stderr


def test_watch_prints_every_change_until_the_end(shell, put):
    put("t", "STARTED", {"pid": 5})
    words = [sys.executable, "-m", "amqtask", "result", "--watch", "t"]
    with subprocess.Popen(words, cwd=shell.folder, env=os.environ, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline() == 'STARTED   {"pid": 5}\n'
        put("t", "PROGRESS", {"done": 1})
        assert watching.stdout.readline() == 'PROGRESS  {"done": 1}\n'
        put("t", "SUCCESS", 7)
        rest = watching.stdout.read()
    assert rest == "id        t\nstate     SUCCESS\nresult    7\n"
    assert watching.returncode == 0


def test_watch_of_a_failure_exits_with_1_and_prints_one_document(shell, put):
    put("t", "REVOKED", None)
    assert json.loads(shell.run("result", "t", "--watch", "--json", code=1).stdout)["status"] == "REVOKED"


def test_watch_gives_up_in_time(shell):
    ended = shell.run("result", "t", "--watch", "--timeout", "0.1", code=75)
    assert "no result of task t within 0.1 s" in ended.stderr
    assert "--timeout is for --watch" in shell.run("result", "t", "--timeout", "1", code=64).stderr


@pytest.mark.parametrize(
    ("backend", "code", "text"),
    [
        ("", 78, "keeps no results"),
        ("rpc://", 78, "reach only the process that has sent the task"),
        ("nosuch://here", 78, "unknown scheme"),
        ("redis://127.0.0.1:1/0", 75, "127.0.0.1:1"),
    ],
)
def test_a_backend_that_can_not_be_asked(shell, monkeypatch, backend, code, text):
    monkeypatch.setenv("AMQTASK_RESULT_BACKEND", backend)
    assert text in shell.run("result", "t", code=code).stderr
