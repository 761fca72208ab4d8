"""What is known of a task of which nothing is stored. Owns what its id tells: UUIDv7 hold their birth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask import clock
from amqtask.results.states import EXPIRED, PENDING, UNKNOWN
from amqtask.wire.ids import born

if TYPE_CHECKING:
    from amqtask.results.source import Results


def absent_state(task_id: str, results: Results) -> str:
    """The state of a task of which the backend holds nothing.

    Args:
        task_id: an id; of any other than a UUIDv7 nothing can be told.
        results: the settings, and whether the backend keeps what it was never asked to wait for.

    Returns:
        ``EXPIRED`` when the id is older than results are kept; ``UNKNOWN`` when sending would have stored something;
        else ``PENDING``.
    """
    birth = born(task_id)
    if birth is None:
        return PENDING
    if results.expires and clock.wall() - birth > results.expires:
        return EXPIRED
    # answers by message reach only who waits for them: that nothing is here says nothing
    return UNKNOWN if results.tracks_sent and not results.backend.by_message else PENDING


def explain(task_id: str, state: str, results: Results) -> str:
    """Why there is nothing to wait for, in words."""
    if state == EXPIRED:
        return (
            f"nothing is stored of task {task_id}, and its id is older than result_expires ({results.expires:g} s): "
            "the result has expired, or the task has not ended in all this time"
        )
    return f"nothing is stored of task {task_id}: none with this id was sent, or its result is ignored or was forgotten"
