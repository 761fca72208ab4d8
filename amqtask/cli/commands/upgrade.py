"""``amqtask upgrade``: programs brought to the names of today."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from amqtask.cli.command import Group
from amqtask.cli.output import count, say
from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from amqtask.cli.setup import Setup


@click.group("upgrade", cls=Group, short_help="Rewrite old names.")
def upgrade() -> None:
    """Bring programs to the names of today."""


@upgrade.command("settings", short_help="Rewrite the old names of settings in a file.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--namespace", metavar="NAME", help="Keep names in capitals, with this before them: CELERY for Django.")
@click.option("--django", is_flag=True, help="The same as --namespace CELERY.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be replaced.")
@click.option("--no-backup", is_flag=True, help="Keep no copy of the file.")
@click.pass_obj
def settings(setup: Setup, file: str, namespace: str | None, django: bool, dry_run: bool, no_backup: bool) -> None:
    """Replace old names of settings (CELERYD_CONCURRENCY) in FILE by those of today (worker_concurrency).

    Replaced are variables, keyword arguments, keys of mappings and attributes of conf; comments and everything else
    stay. The file as it was is kept as FILE.orig. Each replaced name is printed with its line.
    """
    from amqtask.config.rewriting import rewrite  # noqa: PLC0415 -- --help needs none of it

    setup.enter_workdir()
    path = Path(file)
    try:
        with path.open(encoding="utf-8", newline="") as opened:  # line ends stay what they are
            text = opened.read()
        new, changes = rewrite(text, "CELERY" if django else namespace)
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not a Python file: {error}") from None
    for change in changes:
        print(f"{file}:{change.line}: {change.old} -> {change.new}")
    if dry_run or not changes:
        say(setup, f"{count(len(changes), 'old name')} in {file}; nothing was changed.")
        return
    if not no_backup:
        shutil.copy2(path, path.with_name(f"{path.name}.orig"))
    with path.open("w", encoding="utf-8", newline="") as opened:
        opened.write(new)
    say(setup, f"{count(len(changes), 'name')} replaced in {file}.")


COMMAND = upgrade
