"""Log lines of the command line programs: text like Celery's, or one JSON object per line.

Owns formats and the handler. A record's ``extra`` fields (``task``, ``task_id``, ``queue``, ``event``, ...)
become fields of the JSON object; a record written while a task runs carries that task, see
:func:`provide_task_fields`. Logging never raises and never waits long: a worker must not stop because nobody
reads its log.
"""

from __future__ import annotations

import json
import logging
import os
import re
import select
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TextIO

from amqtask.unpatched import original

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LogFormat = Literal["text", "json"]

LEVELS = ("debug", "info", "warning", "error", "critical")
"""Names of levels, quietest last; any case is accepted."""

_COLORS = {"DEBUG": "\x1b[2m", "WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[1;31m"}
_RESET = "\x1b[0m"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_DRIVERS = ("pika", "aio_pika", "aiormq")
_ATOMIC = 4096
"""Bytes a pipe that is ready takes without waiting (PIPE_BUF on Linux)."""


class _Source:
    """What lines say about the process and the running task; one per process, set at start-up."""

    name = "amqtask"
    task_fields: Callable[[], Mapping[str, Any] | None] = staticmethod(lambda: None)
    trace_fields: Callable[[], Mapping[str, Any] | None] = staticmethod(lambda: None)


def set_process_name(name: str) -> None:
    """Name shown in every line from now on: the worker's node name, or that of one of its children."""
    _Source.name = name


def provide_task_fields(fields: Callable[[], Mapping[str, Any] | None]) -> None:
    """Register how the running task is found.

    Args:
        fields: called for every record, in the thread or coroutine that logs; returns ``task``, ``task_id``
        and
            maybe more, or None when no task runs there. Must be fast.
    """
    _Source.task_fields = staticmethod(fields)


def provide_trace_fields(fields: Callable[[], Mapping[str, Any] | None]) -> None:
    """Register how the trace of the running task is found.

    Args:
        fields: as for :func:`provide_task_fields`, called only while a task runs; returns ``trace_id`` and
            ``span_id``, or None.
    """
    _Source.trace_fields = staticmethod(fields)


def process_name() -> str:
    """The name shown in every line."""
    return _Source.name


def level_number(name: str) -> int:
    """Number of a level name, in any case (``info``, ``INFO``, ``warn``, ``fatal``).

    Raises:
        ValueError: no such level; says which there are.
    """
    number = logging.getLevelNamesMapping().get(name.strip().upper())
    if not number:
        raise ValueError(f"unknown log level {name!r}; there are {', '.join(LEVELS)}")
    return number


def configure_logging(
    level: str = "info",
    format: LogFormat = "text",  # noqa: A002 -- the option's name
    *,
    color: bool | None = None,
    stream: TextIO | None = None,
) -> None:
    """Send all records of this level and above to stderr. Replaces the root logger's handlers.

    Call it before the app's modules are imported, so that logging set up there wins.

    Args:
        level: name of a level, in any case.
        format: text or json.
        color: None: on a terminal, unless ``NO_COLOR`` is set.
        stream: instead of stderr.

    Raises:
        ValueError: no such level.
    """
    number = level_number(level)
    target = stream or sys.stderr
    if color is None:
        color = target.isatty() and not os.environ.get("NO_COLOR")
    handler = LogHandler(target)
    handler.setFormatter(JSONFormatter() if format == "json" else TextFormatter(color))
    logging.basicConfig(handlers=[handler], level=number, force=True)
    for driver in _DRIVERS:
        # what they report as errors is what reconnecting is for; our own lines tell it in one line each
        logging.getLogger(driver).setLevel(logging.WARNING if number <= logging.DEBUG else logging.CRITICAL)


class TextFormatter(logging.Formatter):
    """``[2026-11-21 10:00:00,123: INFO/w1@host] message`` in local time; in a task ``task[id]: message``.

    Where the task is traced it is ``task[id] trace ID: message``.
    """

    def __init__(self, color: bool = False) -> None:
        super().__init__()
        self.color = color

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback's after it."""
        text = _message(record)
        fields = {} if hasattr(record, "task_id") else task_fields()
        if fields:
            trace = f" trace {fields['trace_id']}" if "trace_id" in fields else ""
            text = f"{fields.get('task')}[{fields.get('task_id')}]{trace}: {text}"
        when = f"{self.formatTime(record, self.datefmt)}: {record.levelname}/{_Source.name}"
        text = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
        line = f"[{when}] {text}"
        if trace := _traceback(self, record):
            line = f"{line}\n{trace}"
        return self.shaded(record, line)

    def shaded(self, record: logging.LogRecord, line: str) -> str:
        """The line in the colour of its level, where there are colours."""
        shade = _COLORS.get(record.levelname) if self.color else None
        return f"{shade}{line}{_RESET}" if shade else line


class JSONFormatter(logging.Formatter):
    """A JSON object per line: ts (ISO, UTC), level, logger, message, worker, pid, a record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The object, on one line."""
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
            "worker": _Source.name,
            "pid": record.process,
            **task_fields(),
            **{key: value for key, value in vars(record).items() if key not in _STANDARD},
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = type(record.exc_info[1]).__name__
        if trace := _traceback(self, record):
            line["traceback"] = trace
        try:
            return json.dumps(line, default=_safe_text, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError):
            return json.dumps({key: _safe_text(value) for key, value in line.items()}, ensure_ascii=False)


class LogHandler(logging.Handler):
    """Writes to a stream without ever raising, and without waiting for a reader that has stopped reading.

    A reader that is behind is waited for once, up to half a second; then lines are dropped and counted until
    it reads again, and the count is logged. Terminals, pipes and files all work. Thread-safe and fork-safe.
    """

    patience = 0.5

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._dropped = 0
        try:
            self._fd: int | None = stream.fileno()
        except (OSError, ValueError, AttributeError):
            self._fd = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or count it as dropped."""
        try:
            data = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
            if self._dropped and self._ready(0):
                lost, self._dropped = self._dropped, 0
                note = logging.makeLogRecord(
                    {
                        "name": __name__,
                        "levelno": logging.WARNING,
                        "levelname": "WARNING",
                        "process": os.getpid(),
                    }
                )
                note.msg = f"{lost} log lines were dropped: nobody read them"
                data = (self.format(note) + "\n").encode() + data
            self._write(data)
        except Exception:
            self._dropped += 1

    def _write(self, data: bytes) -> None:
        if self._fd is None:
            self._stream.write(data.decode())
            self._stream.flush()
            return
        view = memoryview(data)
        while view:
            if not self._ready(0 if self._dropped else self.patience):
                self._dropped += 1
                return
            view = view[os.write(self._fd, view[:_ATOMIC]) :]

    def _ready(self, timeout: float) -> bool:
        if self._fd is None:
            return True
        poll = original("select", "poll")()  # gevent's would switch to others while the lock is held
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(timeout * 1000))


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:
        return f"{_safe_text(record.msg)} {_safe_text(record.args)}"


def task_fields() -> Mapping[str, Any]:
    """What is known of the task that runs here; empty when none does. Never raises."""
    try:
        fields = _Source.task_fields()
        return {**fields, **(_Source.trace_fields() or {})} if fields else {}
    except Exception:
        return {}


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """The traceback of a record; an exception that can't be printed must not cost the line."""
    if not record.exc_info and not record.exc_text:
        return ""
    try:
        return record.exc_text or formatter.formatException(record.exc_info)  # type: ignore[arg-type]
    except Exception:
        return f"{_safe_text(type(record.exc_info[1]))} (its traceback can't be printed)" if record.exc_info else ""


def _safe_text(value: Any) -> str:
    try:
        return value if isinstance(value, str) else repr(value)
    except Exception:
        return f"<{type(value).__name__} that can't be printed>"
