"""What a vhost lends its queues. Owns nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.testing.devbroker.engine.dead_letters import DeadLetters
    from amqtask.testing.devbroker.engine.memory import Memory
    from amqtask.testing.devbroker.engine.scheduler import Scheduler


class Surroundings(NamedTuple):
    """Shared by all queues of a vhost."""

    vhost: str
    scheduler: Scheduler
    memory: Memory
    dead_letters: DeadLetters
    gone: Callable[[str], None]
    """Called with its name by a queue that ends by itself: auto-delete or ``x-expires``."""
