"""What commands that run workers only say of periodic tasks, which they do not send. Owns that line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.app.app import Amqtask
    from amqtask.cli.setup import Setup


def remark(setup: Setup, app: Amqtask, say: Callable[[str], None]) -> None:
    """Say what sends the periodic tasks of an app, if it has any."""
    if app.has_periodic_tasks:
        say(f"this runs no scheduler; to have the periodic tasks sent: amqtask beat -A {setup.app_path}")
