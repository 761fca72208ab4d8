"""What ``ps`` shows for processes of a worker. Owns the use of setproctitle, which is the extra ``process``.

For example::

    [amqtask:w1@host] worker -Q emails
    [amqtask:w1@host] shop.mail.send since 12:03:11
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def _no_title(_text: str) -> None:
    """Without the extra, processes keep the title they have."""


set_title: Callable[[str], None] = _no_title
"""Have ``ps`` show this text for the process; about a microsecond, nothing without the extra."""

with contextlib.suppress(ImportError):
    import setproctitle

    set_title = setproctitle.setproctitle


def shown() -> bool:
    """Whether anybody sees a title."""
    return set_title is not _no_title


def title(node: str, activity: str) -> str:
    """``[amqtask:w1@host] activity``.

    Args:
        node: the worker's node name.
        activity: what the process does.
    """
    return f"[amqtask:{node}] {activity}"
