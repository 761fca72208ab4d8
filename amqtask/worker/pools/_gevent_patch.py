"""Patches the standard library for the gevent pool, before anything of the user's is imported. Owns that moment.

Imports next to nothing of amqtask: whatever was imported before keeps unpatched names.
"""

from __future__ import annotations

import logging

from amqtask.errors import ConfigError
from amqtask.unpatched import original


def patch() -> None:
    """Have everything that waits switch to other greenlets instead.

    Not the locks of logging: the worker's own threads log too, and one that waits with gevent's means needs a hub.

    Raises:
        ConfigError: gevent is not installed.
    """
    try:
        from gevent import monkey  # noqa: PLC0415 -- an optional package
    except ImportError:
        raise ConfigError("the gevent pool needs gevent: pip install 'amqtask[gevent]'") from None
    monkey.patch_all()
    logging._lock = original("_thread", "RLock")()  # type: ignore[attr-defined]  # noqa: SLF001
    logging.Handler.createLock = _real_lock  # type: ignore[assignment,method-assign]
    for reference in logging._handlerList:  # type: ignore[attr-defined]  # noqa: SLF001
        if (handler := reference()) is not None:
            handler.createLock()


def _real_lock(handler: logging.Handler) -> None:
    """As :meth:`logging.Handler.createLock`."""
    handler.lock = original("_thread", "RLock")()
    logging._register_at_fork_reinit_lock(handler)  # type: ignore[attr-defined]  # noqa: SLF001
