"""What a scheduler says of itself in the log, and what the one that leads makes of it when another one says so.

A log is for one program: only the entries of the scheduler that leads are sent. Two programs whose apps have the same
name, or none, share a log without meaning to. Owns the form of a claim and the warnings.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

logger = logging.getLogger("amqtask.beat")

_LONGEST = 100_000
"""Characters of all names; of more it is not said which they are."""
_TOLD = 100
"""Sets of entries that are remembered, to warn of each once."""
_NAMED = 10
"""Entries that a warning names."""


class Claims:
    """Those of one scheduler.

    Args:
        queue: of the log.
        app: name of the application.
        declared: names of the entries of the program.
    """

    def __init__(self, queue: str, app: str, declared: Iterable[str]) -> None:
        self._queue, self._app = queue, app
        self._declared = frozenset(declared)
        self._told: set[frozenset[str]] = set()

    def own(self) -> dict[str, Any]:
        """What this scheduler says of itself."""
        names = sorted(self._declared)
        said = {"names": names} if sum(map(len, names)) <= _LONGEST else {}
        return {"app": self._app, **said, "by": f"{socket.gethostname()}, pid {os.getpid()}"}

    def followed(self, app: str) -> None:
        """The log is that of this app, by now."""
        if app not in ("", self._app):
            logger.error(
                "The queue %s was the scheduler's of another app, %s; give each app its own with beat_queue",
                self._queue, app,
            )  # fmt: skip

    def heard(self, said: Mapping[str, Any]) -> None:
        """A scheduler that waits for its turn says this of itself; it may be this one."""
        app, names = said.get("app", self._app), said.get("names")
        if app != self._app:
            logger.error(
                "Another app, %s, shares the scheduler's queue %s; give each its own with beat_queue", app, self._queue
            )
        elif isinstance(names, list):
            self._compare(frozenset(map(str, names)), said.get("by"))

    def _compare(self, names: frozenset[str], by: object) -> None:
        if names == self._declared or names in self._told or len(self._told) >= _TOLD:
            return
        self._told.add(names)
        logger.warning(
            "Another scheduler of app %r (%s) declares other periodic tasks. Only those of the one that leads are "
            "sent; not sent now: %s; not known there: %s. That is usual while a new version is rolled out; if these "
            "are two programs, give each app a name of its own, Amqtask('name'), or a beat_queue",
            self._app, by, _listed(names - self._declared), _listed(self._declared - names),
        )  # fmt: skip


def _listed(names: frozenset[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join([*sorted(names)[:_NAMED], *([f"{more} more"] if more > 0 else [])]) or "none"
