"""Headers of dead letters, which say how they failed; some stand on a message before, as it comes close to it.

Owns their names. Workers write them, the dead-letter commands read them, and a replay takes them off.
"""

from __future__ import annotations

LOST = "x-amqtask-lost"
"""How many workers or children died running this message."""

PARKED = "x-amqtask-parked"
"""How often the message was parked because no worker knew its task."""

REASON = "x-amqtask-reason"
EXCEPTION = "x-amqtask-exception"
MESSAGE = "x-amqtask-message"
TRACEBACK = "x-amqtask-traceback"
WORKER = "x-amqtask-worker"
ATTEMPTS = "x-amqtask-attempts"
FIRST_TIME = "x-amqtask-first-time"
LAST_TIME = "x-amqtask-last-time"
QUEUE = "x-amqtask-queue"

DEAD_HEADERS = frozenset(
    {LOST, PARKED, REASON, EXCEPTION, MESSAGE, TRACEBACK, WORKER, ATTEMPTS, FIRST_TIME, LAST_TIME, QUEUE}
)
"""All of them: what a message loses when it is replayed."""
