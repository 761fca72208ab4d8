"""The states of a task: Celery's, and those that Celery lacks. Owns their names and their order."""

from __future__ import annotations

PENDING = "PENDING"
"""Nothing is known, and nothing can be told from the id."""
QUEUED = "QUEUED"
"""Sent; stored when ``result_track_sent`` is on."""
SCHEDULED = "SCHEDULED"
"""Sent with ``countdown`` or ``eta``; stored when ``result_track_sent`` is on."""
RECEIVED = "RECEIVED"
STARTED = "STARTED"
RETRY = "RETRY"
SUCCESS = "SUCCESS"
FAILURE = "FAILURE"
REVOKED = "REVOKED"
DEAD = "DEAD"
"""Dead-lettered without having run to an end: unknown task, unreadable message, refused content."""
EXPIRED = "EXPIRED"
"""Nothing is stored and the id is older than ``result_expires``: whatever there was is gone."""
UNKNOWN = "UNKNOWN"
"""Nothing is stored although it would be: no task with this id was sent."""

READY_STATES = frozenset({SUCCESS, FAILURE, REVOKED, DEAD, EXPIRED})
EXCEPTION_STATES = frozenset({RETRY, FAILURE, REVOKED, DEAD})
PROPAGATE_STATES = frozenset({FAILURE, REVOKED, DEAD, EXPIRED})
UNREADY_STATES = frozenset({PENDING, QUEUED, SCHEDULED, RECEIVED, STARTED, RETRY, UNKNOWN})
ALL_STATES = READY_STATES | UNREADY_STATES
