"""Elections among the workers that listen: whoever gets an exclusive queue first has won. Owns holding them.

Celery's workers hold theirs by events among each other; one is enough here, and no worker has to know of the others.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from amqtask.broker.declare import send_step
from amqtask.topology.declarations import QueueDeclare

if TYPE_CHECKING:
    from amqtask.broker.interface import Channel
    from amqtask.worker.engine import Engine

logger = logging.getLogger("amqtask.worker.control")

_HELD = 30_000
"""Milliseconds in which nobody else can win the same election."""

_LONGEST_ID = 100


class Elections:
    """Lives on the I/O thread.

    Args:
        worker: that stands for election.
    """

    def __init__(self, worker: Engine) -> None:
        self._worker = worker
        self._held: deque[str] = deque(maxlen=1000)
        """Elections that were held lately: the queue does not keep its own connection out."""

    def hold(self, election: Any, topic: Any, action: Any) -> None:
        """Stand for an election: whichever worker wins carries out the action.

        Args:
            election: its id; each is held once.
            topic: ``task``: the action is a signature, and is sent.
            action: what the winner does.
        """
        connection = self._worker.connection
        fits = isinstance(election, str) and election.isascii() and len(election) <= _LONGEST_ID
        if connection is None or topic != "task" or not fits:
            logger.warning("An election about %.100r can't be held", topic)
            return
        if election in self._held:
            return
        self._held.append(election)
        queue = QueueDeclare(
            f"amqtask.election.{election}", durable=False, exclusive=True, arguments={"x-expires": _HELD}
        )

        def opened(channel: Channel) -> None:
            send_step(channel, queue, lambda _: won(channel))

        def won(channel: Channel) -> None:
            channel.close()
            self._worker.pool.background.start(lambda: self._act(election, action), "amqtask-elected")

        connection.open_channel(opened, lambda code, _: logger.debug("election %s ends: %s", election, code))

    def _act(self, election: str, action: Any) -> None:
        """Send what is to be sent, which waits for the broker: not on the I/O thread."""
        try:
            self._worker.app.signature(action).apply_async()
        except Exception:
            logger.exception("Won election %s, but the task could not be sent", election)
        else:
            logger.info("Won election %s", election)
