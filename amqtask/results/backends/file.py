"""``file:///folder``: one file per document, for one machine or a shared folder. Owns the files.

Names and contents are those of Celery's backend of the same URL. A document is written beside its place and moved
there, so readers see all of it or nothing; writers take turns by a lock file. Documents survive the end of every
process; what the operating system had not yet written is lost when the machine itself stops.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from amqtask import clock
from amqtask.errors import ConfigError
from amqtask.results import states
from amqtask.results.backends._polled import PolledBackend
from amqtask.results.backends._records import GROUP_PREFIX, TASK_PREFIX, key_part, newest, state_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from amqtask.config.settings import Settings
    from amqtask.results.base import Record

_LOCK = ".amqtask-lock"
_NEW = ".amqtask-new-"
_LONGEST_NAME = 255


class FileBackend(PolledBackend):
    """Documents in a folder. Thread-safe, and safe for many processes on one machine; see the module.

    Args:
        url: ``file:///path/of/folder``, made if need be.
        settings: of the app.

    Raises:
        ConfigError: the URL names no folder.
    """

    needs_clean_up = True

    def __init__(self, url: str, settings: Settings) -> None:
        super().__init__(url, settings)
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost") or not parts.path.strip("/"):
            raise ConfigError(f"result_backend {url!r}: write file:///path/of/a/folder")
        self._folder = Path(unquote(parts.path))

    def store(self, records: Sequence[Record]) -> None:
        """Write documents, each at once."""
        with self._errors("store results"), self._turn():
            for record in newest(records):
                path = self._path(TASK_PREFIX, record.task_id)
                if record.state == states.SUCCESS or not self._succeeded(path):
                    self._write(path, record.document)

    def fetch(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Read documents that have not expired."""
        with self._errors("fetch results"):
            found = {task_id: self._read(self._path(TASK_PREFIX, task_id)) for task_id in task_ids}
        return {task_id: document for task_id, document in found.items() if document is not None}

    def forget(self, task_ids: Sequence[str]) -> None:
        """Remove the files."""
        with self._errors("forget results"):
            for task_id in task_ids:
                self._path(TASK_PREFIX, task_id).unlink(missing_ok=True)

    def save_group(self, group_id: str, document: bytes) -> None:
        """Write the group's file."""
        with self._errors("save a group"), self._turn():
            self._write(self._path(GROUP_PREFIX, group_id), document)

    def fetch_group(self, group_id: str) -> bytes | None:
        """Read the group's file."""
        with self._errors("fetch a group"):
            return self._read(self._path(GROUP_PREFIX, group_id))

    def forget_group(self, group_id: str) -> None:
        """Remove the group's file."""
        with self._errors("forget a group"):
            self._path(GROUP_PREFIX, group_id).unlink(missing_ok=True)

    def clean_up(self) -> int:
        """Remove files that have expired, and what crashed writers have left."""
        removed = 0
        with self._errors("clean up"), self._turn(), os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.startswith((TASK_PREFIX, GROUP_PREFIX)):
                    with contextlib.suppress(FileNotFoundError):  # forgotten meanwhile, which takes no turn
                        if self._expired(entry.stat().st_mtime):
                            Path(entry.path).unlink()
                            removed += 1
                elif entry.name.startswith(_NEW):
                    Path(entry.path).unlink(missing_ok=True)  # nobody is writing: it is our turn
        return removed

    def close(self) -> None:
        """Nothing is held."""
        self.end_threads()

    def _path(self, prefix: str, name: str) -> Path:
        return self._folder / f"{prefix}{key_part(name, _LONGEST_NAME - len(prefix))}"

    def _expired(self, written: float) -> bool:
        expires = self.settings.result_expires
        return bool(expires) and written + expires < clock.wall()

    def _succeeded(self, path: Path) -> bool:
        there = self._read(path)
        return there is not None and state_of(there) == states.SUCCESS

    def _read(self, path: Path) -> bytes | None:
        try:
            with path.open("rb") as file:
                return None if self._expired(os.fstat(file.fileno()).st_mtime) else file.read()
        except FileNotFoundError:
            return None

    def _write(self, path: Path, document: bytes) -> None:
        number, name = tempfile.mkstemp(prefix=_NEW, dir=self._folder)
        with open(number, "wb") as file:  # noqa: PTH123 -- the file is open already
            file.write(document)
        Path(name).replace(path)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """No other writer meanwhile, in this process or another."""
        try:
            lock = (self._folder / _LOCK).open("a")
        except FileNotFoundError:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = (self._folder / _LOCK).open("a")
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self.failed(doing, error) from error


BACKEND = FileBackend
