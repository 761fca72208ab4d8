"""``manage.py amqtask ...``: the command line of amqtask, with the project's app. Owns the way there.

It takes this process's place (``exec``): signals, exit codes and process ids are those of ``amqtask``, and gevent
can patch before Django is imported.
"""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NoReturn

from django.core.management.base import BaseCommand, CommandError

from amqtask.contrib.django.project import APP_VARIABLE, app_path
from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterator, Sequence

_OF_DJANGO = ("--settings", "--pythonpath")
"""Options that ``manage.py`` takes in any place, and has followed."""


class Command(BaseCommand):  # type: ignore[misc]
    """Any command of amqtask: ``manage.py amqtask worker``, ``manage.py amqtask inspect active``, ..."""

    help = "Runs a command of amqtask with this project's app: worker, beat, inspect, ... (see: amqtask --help)"
    requires_system_checks = ()

    def run_from_argv(self, argv: Sequence[str]) -> NoReturn:
        """From the shell: all words after the command's name are amqtask's."""
        command, environment = _started(list(_without_djangos(argv[2:])))
        sys.stdout.flush()
        os.execve(sys.executable, command, environment)  # noqa: S606 -- no shell is wanted

    def add_arguments(self, parser: ArgumentParser) -> None:
        """For ``call_command("amqtask", "status")``."""
        parser.add_argument("words", nargs="*")

    def handle(self, *words: str, **options: Any) -> None:
        """The same in a process of its own."""
        command, environment = _started([*words, *options.get("words", ())])
        status = subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 -- amqtask itself
        if status:
            raise CommandError(f"amqtask has ended with {status}", returncode=status)


def _started(words: list[str]) -> tuple[list[str], dict[str, str]]:
    environment = dict(os.environ)
    try:
        path = app_path()
    except ConfigError as error:
        raise CommandError(str(error)) from error
    if path is not None:
        environment[APP_VARIABLE] = path
    # where manage.py found the project; the standard library and what is installed come after it
    ahead = [folder or os.getcwd() for folder in takewhile(lambda one: not one.endswith(".zip"), sys.path)]  # noqa: PTH109
    environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(ahead))
    return [sys.executable, "-m", "amqtask", *words], environment


def _without_djangos(words: Sequence[str]) -> Iterator[str]:
    rest = iter(words)
    for word in rest:
        if word in _OF_DJANGO:
            next(rest, None)
        elif not word.startswith(tuple(f"{name}=" for name in _OF_DJANGO)):
            yield word
