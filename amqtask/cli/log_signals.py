"""The signals about a worker's log, sent once its app is loaded. Owns what a receiver of ``setup_logging`` takes over.

Whoever is connected to ``setup_logging`` sets up logging alone: the handlers that are there by then are taken away.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from amqtask import logs, signals
from amqtask.cli.log_style import restyle

if TYPE_CHECKING:
    from amqtask.config.settings import Settings

_TASKS = "amqtask.task"


def finish_logging(settings: Settings, loglevel: str, *, color: bool | None) -> None:
    """The app's part in the log.

    Args:
        settings: of the app.
        loglevel: as given on the command line.
        color: None: as the terminal has it.

    Raises:
        ConfigError: as of :func:`~amqtask.cli.log_style.restyle`.
    """
    told = {
        "loglevel": logs.level_number(loglevel),
        "logfile": None,
        "format": settings.worker_log_format,
        "colorize": color,
    }
    root = logging.getLogger()
    if signals.setup_logging.receivers:
        for handler in [one for one in root.handlers if isinstance(one, logs.LogHandler)]:
            root.removeHandler(handler)
        signals.setup_logging.send(None, **told)
        return
    restyle(settings)
    signals.after_setup_logger.send(None, logger=root, **told)
    signals.after_setup_task_logger.send(
        None, logger=logging.getLogger(_TASKS), **{**told, "format": settings.worker_task_log_format}
    )
