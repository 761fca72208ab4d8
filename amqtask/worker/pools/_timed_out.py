"""What a pool reports for a job that its hard time limit has ended. Owns the words; all pools say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.errors import TimeLimitExceeded
from amqtask.execution.job import Kind, Outcome

if TYPE_CHECKING:
    from amqtask.execution.job import Job

_PATH = f"{TimeLimitExceeded.__module__}.{TimeLimitExceeded.__qualname__}"


def timed_out(job: Job, runtime: float) -> Outcome:
    """The outcome of a job that ran this many seconds."""
    text = f"ran longer than its time limit of {job.time_limit or 0:g} s"
    return Outcome(job.key, Kind.TIMED_OUT, runtime, text, (_PATH, text, ""))
