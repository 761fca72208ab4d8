"""docs/reference/cli.md mentions every command, common option and exit code."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from amqtask.cli import exits
from amqtask.cli.command import CommonOption
from amqtask.cli.main import cli

TEXT = (Path(__file__).parents[2] / "docs/reference/cli.md").read_text()


def commands(group: click.Group = cli, path: str = "amqtask") -> list[tuple[str, click.Command]]:
    context = click.Context(group)
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = f"{path} {name}"
        found += commands(command, inner) if isinstance(command, click.Group) else [(inner, command)]
    return found


@pytest.mark.parametrize(("path", "command"), commands(), ids=[path for path, _ in commands()])
def test_every_command_is_documented(path, command):
    assert f"| `{path}" in TEXT


@pytest.mark.parametrize("option", [item for item in cli.params if isinstance(item, CommonOption)], ids=str)
def test_every_common_option_is_documented(option):
    assert all(f"`{name}" in TEXT for name in option.opts)


def test_every_exit_code_is_documented():
    codes = {value for name, value in vars(exits).items() if name.isupper() and type(value) is int}
    for code in codes:
        assert f"| {code} |" in TEXT
