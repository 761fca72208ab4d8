"""Settings of a worker's log lines. Owns this part of the list."""

from __future__ import annotations

from dataclasses import dataclass

from amqtask.config import kinds
from amqtask.config.field import setting


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """Log lines of workers. Formats in the notation of Python's logging, ``%(message)s``."""

    worker_hijack_root_logger: bool = setting(
        True,
        kinds.flag,
        "Workers write all records to their log; false: not when the app's modules have set up handlers of their own.",
    )
    worker_log_color: bool | None = setting(
        None, kinds.optional(kinds.flag), "Colours in text lines; none: on a terminal."
    )
    worker_log_format: str | None = setting(
        None, kinds.optional(kinds.text), "Format of text lines, as %(levelname)s %(message)s; none: amqtask's own."
    )
    worker_log_datefmt: str | None = setting(
        None, kinds.optional(kinds.text), "Format of the time in them, as for strftime."
    )
    worker_task_log_format: str | None = setting(
        None,
        kinds.optional(kinds.text),
        "Format of lines written while a task runs; %(task_name)s and %(task_id)s say which. None: worker_log_format.",
    )
    worker_task_log_datefmt: str | None = setting(
        None, kinds.optional(kinds.text), "Format of the time in those lines; none: worker_log_datefmt."
    )
    worker_redirect_stdouts: bool = setting(
        False, kinds.flag, "What tasks print becomes log lines, instead of going to stdout and stderr."
    )
    worker_redirect_stdouts_level: str = setting("warning", kinds.text, "Level of those lines.")
