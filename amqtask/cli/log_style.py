"""The worker's log as its app's settings want it (``worker_log_format`` and its relatives).

Owns what these settings change of the log that :mod:`amqtask.logs` has set up, once the app is loaded.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any, TextIO

from amqtask import logs
from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from amqtask.config.settings import Settings

_USUAL = "[%(asctime)s: %(levelname)s/%(worker)s] %(message)s"


def restyle(settings: Settings) -> None:
    """Apply an app's settings to the log, once its modules are loaded. Lines of JSON stay as they are.

    Raises:
        ConfigError: a level or a format that logging does not know.
    """
    root = logging.getLogger()
    ours = [handler for handler in root.handlers if isinstance(handler, logs.LogHandler)]
    if not settings.worker_hijack_root_logger and len(ours) < len(root.handlers):
        for handler in ours:
            root.removeHandler(handler)
    wanted = settings.worker_log_color
    for handler in ours:
        if isinstance(former := handler.formatter, logs.TextFormatter):
            handler.setFormatter(_formatter(settings, former.color if wanted is None else wanted))
    if settings.worker_redirect_stdouts:
        try:
            level = logs.level_number(settings.worker_redirect_stdouts_level)
        except ValueError as error:
            raise ConfigError(f"setting worker_redirect_stdouts_level: {error}") from None
        sys.stdout, sys.stderr = Prints(sys.stdout, level), Prints(sys.stderr, level)


def _formatter(settings: Settings, color: bool) -> logging.Formatter:
    plain, task = settings.worker_log_format, settings.worker_task_log_format
    if plain or task:
        return StyledFormatter(settings, color)
    made = logs.TextFormatter(color)
    made.datefmt = settings.worker_log_datefmt
    return made


class StyledFormatter(logs.TextFormatter):
    """Lines in formats of the app's own.

    ``%(worker)s``, ``%(task_name)s``, ``%(task_id)s`` and ``%(trace_id)s`` are known in them.
    """

    def __init__(self, settings: Settings, color: bool = False) -> None:
        super().__init__(color)
        plain, dates = settings.worker_log_format or _USUAL, settings.worker_log_datefmt
        task = settings.worker_task_log_format or plain
        self._plain = _checked("worker_log_format", plain, dates)
        self._task = _checked("worker_task_log_format", task, settings.worker_task_log_datefmt or dates)

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback's after it."""
        fields = logs.task_fields()
        about: dict[str, Any] = {"worker": logs.process_name(), "task_name": "???", "task_id": "???", "trace_id": ""}
        if fields:
            about |= {"task_name": fields.get("task"), "task_id": fields.get("task_id")}
            about["trace_id"] = fields.get("trace_id", "")
        copy = logging.makeLogRecord({**about, **vars(record)})
        return self.shaded(record, (self._task if fields else self._plain).format(copy))


def _checked(name: str, text: str, dates: str | None) -> logging.Formatter:
    try:
        made = logging.Formatter(text, dates)
        made.format(logging.makeLogRecord({"worker": "", "task_name": "", "task_id": "", "trace_id": ""}))
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"setting {name}: {text!r}: {error}") from None
    return made


class Prints(io.TextIOBase):
    """Stands in the place of stdout or stderr: what a task prints is logged, everything else goes where it went.

    Args:
        stream: where it went.
        level: number of the level of the lines.
    """

    def __init__(self, stream: TextIO, level: int) -> None:
        self._stream, self._level = stream, level
        self._begun = threading.local()

    def write(self, text: str) -> int:
        """Log the whole lines of what a task prints."""
        if not logs.task_fields() or getattr(self._begun, "busy", False):
            return self._stream.write(text)
        *lines, self._begun.line = (getattr(self._begun, "line", "") + text).split("\n")
        self._log(lines)
        return len(text)

    def flush(self) -> None:
        """Log a line that has begun, too."""
        line, self._begun.line = getattr(self._begun, "line", ""), ""
        self._log([line])
        self._stream.flush()

    def _log(self, lines: list[str]) -> None:
        self._begun.busy = True  # a handler that prints must not be asked to log that
        try:
            for line in lines:
                if line.strip():
                    logging.getLogger("amqtask.prints").log(self._level, "%s", line)
        finally:
            self._begun.busy = False

    def fileno(self) -> int:
        """Of the stream."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Of the stream."""
        return self._stream.isatty()

    def writable(self) -> bool:
        """It is."""
        return True
