"""``amqtask init``: writes a small project that runs. Owns the writing; its files are in the folder ``project``."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import click

from amqtask.cli.command import Command
from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

    from amqtask.cli.setup import Setup

_SUFFIX = ".tmpl"
_YAML_WORDS = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))


@click.command("init", cls=Command, short_help="Write a small project that runs.")
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
@click.pass_obj
def init(setup: Setup, folder: Path) -> None:
    """Write a small project into DIR (or the current folder): tasks, routing.yaml, tests, a compose file.

    Nothing is overwritten: if one of the files exists already, none is written.
    """
    setup.enter_workdir()
    name = _project_name(folder)
    files = {folder / path: text for path, text in _files(name)}
    if existing := [str(path) for path in files if path.exists()]:
        verb = "is" if len(existing) == 1 else "are"
        raise click.UsageError(f"Nothing was written: {', '.join(existing)} {verb} there already. Give another DIR.")
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"can't write {path}: {error.strerror}") from None
        print(path)
    change = [] if folder.resolve() == Path.cwd() else [f"  cd {folder}"]
    lines = ["  amqtask dev -A tasks   broker and workers", "  python send.py         in another terminal"]
    print("\n".join(["", "Next:", *change, *lines, "  python -m pytest       its tests"]))


def _project_name(folder: Path) -> str:
    """A name for tasks, exchanges and users, made of the folder's; never one that YAML takes for something else."""
    name = re.sub(r"[^a-z0-9]+", "_", folder.resolve().name.lower()).strip("_")
    return name if name[:1].isalpha() and name not in _YAML_WORDS else f"project_{name}".rstrip("_")


def _files(name: str) -> Iterator[tuple[Path, str]]:
    """Path inside the project, and content."""
    from importlib import resources  # noqa: PLC0415 -- --help needs none of it

    for path, source in _templates(resources.files("amqtask.cli") / "project", Path()):
        yield path, Template(source.read_text(encoding="utf-8")).substitute(name=name)


def _templates(folder: Traversable, inside: Path) -> Iterator[tuple[Path, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _templates(entry, inside / entry.name)
        elif entry.name.endswith(_SUFFIX):
            yield inside / entry.name.removesuffix(_SUFFIX), entry


COMMAND = init
