"""``amqtask shell``: a Python prompt with the app and its tasks."""

from __future__ import annotations

import code
import importlib
from typing import TYPE_CHECKING, Any

import click

from amqtask.cli.command import Command

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.cli.setup import Setup


@click.command("shell", cls=Command, short_help="A Python prompt with the app and its tasks.")
@click.option("-P", "--python", "plain", is_flag=True, help="Python's own prompt, even where IPython is installed.")
@click.option("-T", "--without-tasks", is_flag=True, help="Leave out the tasks.")
@click.pass_obj
def shell(setup: Setup, plain: bool, without_tasks: bool) -> None:
    """Start a prompt that knows the app (app), its tasks by their short names, and chain, group, chord and signature.

    Nothing connects before something is sent.
    """
    app = setup.load("nothing")
    names: dict[str, Any] = {"app": app}
    import amqtask  # noqa: PLC0415 -- for this alone

    names |= {name: getattr(amqtask, name) for name in ("chain", "group", "chord", "signature", "AsyncResult")}
    if not without_tasks:
        app.load_tasks()
        names |= {name.rpartition(".")[2]: task for name, task in app.tasks.items()}
    prompt = None if plain else _ipython()
    if prompt is not None:
        prompt(names)
        return
    code.interact(f"{app!r}: {', '.join(names)}", local=names, exitmsg="")


def _ipython() -> Callable[[dict[str, Any]], None] | None:
    try:
        ipython = importlib.import_module("IPython")
    except ImportError:
        return None
    return lambda names: ipython.start_ipython(argv=[], user_ns=names)


COMMAND = shell
