"""Loggers of tasks, as ``celery.utils.log`` has them."""

from __future__ import annotations

import logging


def get_logger(name: str) -> logging.Logger:
    """The logger of this name."""
    return logging.getLogger(name)


def get_task_logger(name: str) -> logging.Logger:
    """A logger for the tasks of a module; it is an ordinary one."""
    return logging.getLogger(name)
