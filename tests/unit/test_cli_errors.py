"""How the command line ends: exit codes, one or two lines, no traceback, no password."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import click
import pytest

from amqtask import errors
from amqtask.cli.exits import DataError, Declined, exit_code, guarded
from amqtask.cli.main import main
from amqtask.cli.output import confirm

NOBODY = "amqp://guest:hush@127.0.0.1:9/"
"""The discard port: refused at once."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with an app and a routing file, as the current one."""
    (tmp_path / "routing.yaml").write_text(
        "version: 1\nqueues: {emails: {}, files: {}}\nroutes: [{task: shop.mail, queue: emails}]\n"
    )
    (tmp_path / f"shop{os.getpid()}.py").write_text(
        "from amqtask import Amqtask\n"
        "app = Amqtask('shop', routing='routing.yaml')\n"
        "app.task(name='shop.mail')(print)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in os.environ if name.startswith("AMQTASK_")]:
        monkeypatch.delenv(name)
    yield tmp_path
    sys.modules.pop(f"shop{os.getpid()}", None)


APP = f"shop{os.getpid()}"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (click.UsageError("x"), 64),
        (DataError("x"), 65),
        (errors.EncodeError("x"), 65),
        (errors.DecodeError("x"), 65),
        (errors.Unroutable("x"), 65),
        (errors.MessageTooLarge("x"), 65),
        (errors.BrokerUnavailable("x"), 69),
        (ValueError("x"), 70),
        (errors.PublishTimeout("x"), 75),
        (errors.BrokerBlocked("x"), 75),
        (errors.QueueFull("x"), 75),
        (errors.AccessRefused("x"), 77),
        (errors.ConfigError("x"), 78),
        (errors.TopologyError("x"), 78),
        (errors.InequivalentArguments("queue", "q", "x-ttl", "1", "2"), 78),
    ],
)
def test_every_kind_of_error_has_its_exit_code(error, code, capsys):
    def program() -> None:
        raise error

    assert exit_code(error) == guarded(program) == code
    err = capsys.readouterr().err
    assert err.startswith("Error: ")
    assert "Traceback" not in err
    assert 1 <= len(err.splitlines()) <= 2


def test_the_codes_of_programs_are_kept_and_nothing_means_0():
    assert guarded(lambda: 5) == 5
    assert guarded(lambda: None) == 0
    assert guarded(lambda: "text") == 0


def test_an_interrupt_is_130(capsys):
    def program() -> None:
        raise KeyboardInterrupt

    assert guarded(program) == 130
    assert capsys.readouterr().err == "\n"


def test_passwords_are_never_printed(capsys):
    def program() -> None:
        raise errors.BrokerUnavailable("no way to amqp://me:hu@sh@host/")

    guarded(program)
    assert capsys.readouterr().err == "Error: no way to amqp://me:***@host/\n"


def test_the_traceback_is_there_for_those_who_ask(monkeypatch, capsys):
    monkeypatch.setenv("AMQTASK_DEBUG", "1")

    def program() -> None:
        raise errors.ConfigError("x")

    assert guarded(program) == 78
    assert "Traceback" in capsys.readouterr().err


def test_every_problem_of_a_routing_file_is_one_line(folder, capsys):
    (folder / "routing.yaml").write_text("version: 1\nqueus: {}\nroutes: [{task: x, queue: nowhere}]\n")
    assert main(["topology", "check", "--offline"]) == 78
    lines = capsys.readouterr().err.splitlines()
    assert all("routing.yaml:" in line for line in lines[:-1])
    assert lines[-1] == f"Error: {len(lines) - 1} problem{'s' if len(lines) > 2 else ''}"
    assert "did you mean 'queues'?" in lines[0]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ("worker", 64, "Which app?"),
        ("up", 64, "Which app?"),
        ("dev", 64, "Which app?"),
        ("dev -A nonexistent_module", 78, "there is no module 'nonexistent_module'"),
        ("dev -A APP --port 99999", 64, "0<=x<=65535"),
        ("dev -A APP --watch nowhere", 64, "'nowhere' does not exist"),
        ("dev -A APP --shutdown-timeout soon", 64, "'soon' is not a duration"),
        ("demo -b dev://host", 78, "write dev:// or dev:///vhost"),
        (f"demo -b {NOBODY}", 69, "127.0.0.1:9"),
        ("call", 64, "Missing argument 'NAME'"),
        ("call x -a 1", 64, "must be a JSON list"),
        ("call x -a [1", 64, "not JSON"),
        ("call x -k []", 64, "must be a JSON object"),
        ("call x --eta tomorrow", 64, "'tomorrow' is not a time"),
        ("call x --countdown soon", 64, "'soon' is not a duration"),
        ("call x --priority 10", 64, "0<=x<=9"),
        ("call x --stdin -a [1]", 64, "leave out -a and -k"),
        ("call x --stdin --countdown 5", 64, "--countdown can't be used with --stdin"),
        ("call x --queue a --exchange b", 78, "give either queue, or exchange"),
        ("queue list --jsno", 64, "--json"),
        ("worker -A APP -c 0", 64, "a number of 1 or more nor 'auto'"),
        ("worker -A APP -l loud", 64, "unknown log level 'loud'"),
        ("worker -A APP -Q emials", 78, "did you mean 'emails'?"),
        ("worker -A APP -X emials", 78, "did you mean 'emails'?"),
        ("worker -A APP -P prefrok", 78, "did you mean 'prefork'?"),
        ("worker -A APP --pool-name mail", 78, "no pools are declared"),
        ("worker -A APP -n w%x", 78, "'%x' is unknown"),
        ("worker -A nonexistent_module", 78, "there is no module 'nonexistent_module'"),
        ("worker -A APP -b redis://host", 78, "RabbitMQ"),
        ("up -A APP", 78, "declares no pools"),
        ("purge emials", 78, "did you mean 'emails'?"),
        ("purge emails.daed", 78, "did you mean 'emails.dead'?"),
        ("dead list emials", 78, "did you mean 'emails'?"),
        ("topology check --routing missing.yaml", 78, "missing.yaml"),
        ("topology export --format definitions --broker-version four", 64, "'four' is not a version"),
        ("report --workdir /nonexistent", 78, "--workdir /nonexistent: No such file or directory"),
        (f"queue list -b {NOBODY}", 69, "127.0.0.1:9"),
        (f"call shop.mail -b {NOBODY}", 69, ""),
        (f"dead list emails -b {NOBODY}", 69, ""),
        (f"topology apply -b {NOBODY}", 69, ""),
    ],
)
def test_errors_are_a_line_or_two_with_their_code(folder, capsys, words, code, text):
    assert main([APP if word == "APP" else word for word in words.split()]) == code
    err = capsys.readouterr().err
    assert text in err
    assert err.startswith("Error: ")
    assert len(err.splitlines()) <= 2
    assert "hush" not in err
    assert "Traceback" not in err


def test_commands_that_need_a_topology_say_so_when_there_is_none(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["topology", "check"]) == 64
    assert "Give -A APP or --routing FILE; there is no routing.yaml here" in capsys.readouterr().err


def test_an_app_that_fails_to_import_is_told_with_its_place(folder, capsys):
    (folder / "broken_shop.py").write_text("import os\n1 / 0\n")
    assert main(["worker", "-A", "broken_shop"]) == 78
    err = capsys.readouterr().err
    assert "ZeroDivisionError: division by zero" in err
    assert "broken_shop.py:2" in err
    assert len(err.splitlines()) == 1


def test_a_check_without_a_broker_succeeds_and_says_so(folder, capsys):
    assert main(["topology", "check", "-b", NOBODY]) == 0
    out, err = capsys.readouterr()
    assert "is correct: 3 queues" in out
    assert "Not compared with a broker: no connection" in err


def test_questions_nobody_can_answer_name_the_option(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with click.Context(click.Command("purge")), pytest.raises(click.UsageError, match="--force"):
        confirm("Really?", force=False)
    confirm("Really?", force=True)


def test_an_answer_of_no_does_nothing_and_is_told(monkeypatch, capsys):
    class Terminal:
        @staticmethod
        def isatty() -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal)
    monkeypatch.setattr(click, "confirm", lambda *_, **__: False)
    with pytest.raises(Declined):
        confirm("Really?", force=False)


def test_a_reader_that_goes_away_is_no_error(folder):
    program = f"{sys.executable} -m amqtask topology schema | head -c 1"
    ended = subprocess.run(program, shell=True, capture_output=True, text=True, check=False)
    assert ended.stderr == ""


@pytest.mark.parametrize("words", ["report --json", "routes show --json", "routes show x --json"])
def test_json_output_is_one_document(folder, capsys, words):
    assert main([*words.split(), "-b", NOBODY]) == 0
    out = capsys.readouterr().out
    json.loads(out)
    assert "hush" not in out


def test_json_of_a_check_lists_the_errors_and_still_fails(folder, capsys):
    (folder / "routing.yaml").write_text("version: 1\nqueus: {}\n")
    assert main(["topology", "check", "--offline", "--json"]) == 78
    assert len(json.loads(capsys.readouterr().out)["errors"]) == 1


def test_a_reader_that_has_gone_ends_the_program_with_141():
    """In a process, with more output than a pipe holds: click answers with 1."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as out:
        ended = subprocess.run(
            [sys.executable, "-m", "amqtask", "topology", "schema"], stdout=out, stderr=subprocess.PIPE, check=False
        )
    assert (ended.returncode, ended.stderr) == (141, b"")
