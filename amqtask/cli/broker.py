"""The command line's own connection to the broker. Owns opening it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amqtask.app.app import Amqtask
    from amqtask.broker.admin import Admin


def open_admin(app: Amqtask, blocked_timeout: float | None = None) -> Admin:
    """A blocking connection to the app's broker, as a context manager.

    Args:
        app: whose broker.
        blocked_timeout: seconds that the broker may block publishers, instead of the setting's.
    """
    from amqtask.broker.admin import Admin  # noqa: PLC0415 -- loads pika

    options = replace(app.connection_options, name=f"{app.main} (command line)")
    return Admin(
        app.broker_urls, options if blocked_timeout is None else replace(options, blocked_timeout=blocked_timeout)
    )
