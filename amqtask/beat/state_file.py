"""The file of ``amqtask beat -s FILE``: a copy of the scheduler's state in SQLite. Owns the file.

The broker's log stays what counts. The file is read when the broker has no state, for example because its queues were
deleted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.errors import ConfigError
from amqtask.schedules.state import State

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger("amqtask.beat")

_TABLE = "CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY CHECK (id = 1), document TEXT, saved_at REAL)"


class StateFile:
    """See the module. For one thread.

    Args:
        path: of the file; made when it is missing. One that can't be read is set aside.

    Raises:
        ConfigError: no file can be made there.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path).expanduser()
        try:
            with self._open() as opened:
                opened.execute(_TABLE)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise ConfigError(f"beat_schedule_filename: can't use {path}: {error}") from None
            self._set_aside(error)
            with self._open() as opened:
                opened.execute(_TABLE)

    def load(self) -> State:
        """The state that was saved last; an empty one when there is none."""
        with self._open() as opened:
            row = opened.execute("SELECT document FROM state").fetchone()
        try:
            return State() if row is None else State.of_plain(json.loads(row[0]))
        except (ValueError, TypeError, AttributeError) as error:
            self._set_aside(error)
            return State()

    def save(self, data: Mapping[str, Any]) -> None:
        """Save a snapshot; what goes wrong is logged, for the broker has it too."""
        row = (json.dumps(data), clock.wall())
        try:
            with self._open() as opened:
                opened.execute(_TABLE)
                opened.execute("INSERT OR REPLACE INTO state VALUES (1, ?, ?)", row)
        except sqlite3.Error as error:
            logger.error("Can't write %s: %s", self._path, error)  # noqa: TRY400 -- no bug of ours

    @contextlib.contextmanager
    def _open(self) -> Any:
        connection = sqlite3.connect(self._path, timeout=5)
        try:
            with connection:
                yield connection
        finally:
            connection.close()

    def _set_aside(self, error: Exception) -> None:
        aside = self._path.with_name(f"{self._path.name}.unreadable")
        logger.error("%s can't be read (%s); it is kept as %s", self._path, error, aside.name)
        self._path.replace(aside)
