"""Restarts workers when files change. Owns the order: change, look whether the app loads, replace the workers.

watcher ──line──► look (loads the app, prints its pools) ──0──► supervisor.replace
                                                         ──else──► its error; the workers stay as they are
"""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import TYPE_CHECKING

from amqtask.cli.watcher import CHANGED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from amqtask.cli.supervisor import Supervisor


def can_watch() -> bool:
    """Is the package installed that watches files?"""
    return importlib.util.find_spec("watchfiles") is not None


class Reloader:
    """Companion of a supervisor that replaces its children after each change that loads.

    Args:
        supervisor: not running yet.
        look: command line that loads the app afresh and prints the options that choose its workers as JSON in its last
            line, see :func:`amqtask.cli.workers.pool_words`.
        commands: makes the workers' command lines of these.
        folders: to watch, with everything below them.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        look: Sequence[str],
        commands: Callable[[Mapping[str, Sequence[str]]], Mapping[str, Sequence[str]]],
        folders: Iterable[Path],
    ) -> None:
        self._supervisor, self._look, self._commands = supervisor, look, commands
        self._looking = self._again = False
        self._said: list[bytes] = []
        watcher = [sys.executable, "-m", "amqtask.cli.watcher", *map(str, folders)]
        supervisor.spawn(watcher, self._changed, self._watcher_ended)

    def _changed(self, line: bytes) -> None:
        self._supervisor.say(line.decode(errors="replace"))
        if not line.startswith(CHANGED.encode()):
            return
        if self._looking:
            self._again = True
        else:
            self._start_look()

    def _start_look(self) -> None:
        self._looking, self._again, self._said = True, False, []
        self._supervisor.spawn(self._look, self._said.append, self._looked)

    def _looked(self, code: int) -> None:
        self._looking = False
        if self._again:
            self._start_look()
        elif code:
            for line in self._said:
                self._supervisor.say(line.decode(errors="replace"))
            self._supervisor.say("the workers stay as they are; waiting for the next change")
        else:
            self._supervisor.replace(self._commands(json.loads(self._said[-1])))

    def _watcher_ended(self, code: int) -> None:
        self._supervisor.say(f"the watcher of the files has ended (exit code {code}); reload is off")
        self._supervisor.patient = False
