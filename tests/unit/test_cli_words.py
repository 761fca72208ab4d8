"""The command line before any command runs: word orders, names, help, what is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from amqtask.cli import main as cli_main
from amqtask.cli.main import cli, commands, main
from amqtask.cli.setup import Setup

FOLDER = Path(cli_main.__file__).parent / "commands"
COMMANDS = sorted(module.stem for module in FOLDER.glob("*.py") if not module.stem.startswith("_"))


@pytest.fixture
def probe(monkeypatch):
    """Replaces every command's body by one that keeps the Setup."""
    seen = []

    def keep(context: click.Context) -> None:
        seen.append(context.find_object(Setup))

    for name in ("purge", "report"):
        command = commands.get(name)
        monkeypatch.setattr(command, "callback", lambda *_, **__: keep(click.get_current_context()))
    return seen


@pytest.mark.parametrize(
    "words",
    [
        ["-A", "proj", "-b", "amqp://x", "report"],
        ["report", "-A", "proj", "-b", "amqp://x"],
        ["-A", "proj", "report", "-b", "amqp://x"],
        ["--app=proj", "report", "--broker=amqp://x"],
        ["-A", "other", "report", "-A", "proj", "-b", "amqp://x"],
        ["purge", "-A", "proj", "emails", "-b", "amqp://x"],
    ],
)
def test_app_and_broker_are_accepted_before_and_after_the_command(probe, words):
    assert main(words) == 0
    assert (probe[0].app, probe[0].broker) == ("proj", "amqp://x")


def test_the_environment_names_the_app_unless_an_option_does(probe, monkeypatch):
    monkeypatch.setenv("AMQTASK_APP", "env")
    assert main(["report"]) == 0
    assert main(["-A", "proj", "report"]) == 0
    assert [setup.app_path for setup in probe] == ["env", "proj"]


def test_subcommands_accept_the_common_options_in_three_places(tmp_path, monkeypatch, capsys):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "routing.yaml").write_text("version: 1\nqueues: {emails: {}}\n")
    monkeypatch.chdir(tmp_path)
    for words in (
        ["--routing", "sub/routing.yaml", "routes", "show", "x"],
        ["routes", "--routing", "sub/routing.yaml", "show", "x"],
        ["routes", "show", "x", "--routing", "sub/routing.yaml"],
    ):
        assert main(words) == 0
        assert "Because:" in capsys.readouterr().out


def test_routing_yaml_of_the_current_folder_is_used_when_nothing_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "routing.yaml").write_text("version: 1\nqueues: {emails: {}}\nroutes: [{task: x, queue: emails}]\n")
    monkeypatch.chdir(tmp_path)
    assert main(["routes", "show", "x"]) == 0
    assert "emails" in capsys.readouterr().out
    monkeypatch.chdir("/")
    assert main(["routes", "show", "x", "--workdir", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        (["wroker"], "worker"),
        (["topology", "chek"], "check"),
        (["broker", "doo"], "do"),
        (["brokre"], "broker"),
        (["inti"], "init"),
        (["dead", "lst"], "list"),
        (["-q", "qeue"], "queue"),
    ],
)
def test_an_unknown_command_is_answered_with_the_nearest(capsys, words, nearest):
    assert main(words) == 64
    assert f"did you mean '{nearest}'?" in capsys.readouterr().err


def test_help_lists_every_command_and_the_common_options(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in COMMANDS:
        assert f"\n  {name} " in text
    assert "-A, --app" in text


def every_command() -> list[tuple[str, ...]]:
    context = click.Context(cli)
    found: list[tuple[str, ...]] = []
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        found.append((name,))
        if isinstance(command, click.Group):
            found += [(name, sub) for sub in command.list_commands(context)]
    return found


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_has_help_with_the_common_options(capsys, words):
    assert main([*words, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: amqtask {' '.join(words)}")
    assert "Common options:" in text
    assert "-b, --broker" in text


def test_reading_commands_offer_json():
    context = click.Context(cli)
    reading = [("report",), ("queue", "list"), ("dead", "list"), ("dead", "show"), ("routes", "show")]
    for words in [*reading, ("topology", "check"), ("topology", "plan")]:
        command: click.Command | None = cli
        for word in words:
            assert isinstance(command, click.Group)
            command = command.get_command(context, word)
        assert command is not None
        assert any("--json" in parameter.opts for parameter in command.params), words


def test_the_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("amqtask ")


@pytest.mark.parametrize(
    "words", ["--help", "worker --help", "dev --help", "broker do --help", "dead list --help", "-A x wroker"]
)
def test_help_imports_nothing_heavy(words):
    program = (
        "import sys; from amqtask.cli.main import main; code = main(sys.argv[1:]);"
        "heavy = {'pika', 'aio_pika', 'yaml', 'rich', 'asyncio', 'msgpack'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    ended = subprocess.run([sys.executable, "-c", program, *words.split()], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_python_m_amqtask_is_the_same_program():
    ended = subprocess.run([sys.executable, "-m", "amqtask", "--version"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout[:8]) == (0, "amqtask ")


def test_shell_completion_knows_the_commands(monkeypatch):
    ended = subprocess.run(
        [sys.executable, "-m", "amqtask"],
        capture_output=True,
        text=True,
        check=False,
        env={
            "_AMQTASK_COMPLETE": "bash_complete",
            "COMP_WORDS": "amqtask wor",
            "COMP_CWORD": "1",
            "PATH": "/bin",
        },
    )
    assert "worker" in ended.stdout


def test_a_command_is_one_module_in_the_folder():
    assert cli_main.commands.names() == COMMANDS
    assert {"call", "dead", "list", "report", "result", "routes", "shell", "upgrade", "worker"} <= set(COMMANDS)
