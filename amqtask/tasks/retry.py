"""Whether a failed attempt is followed by another one, and after what delay.

Owns the rules, as a pure decision; who publishes the next attempt is the worker's business. What counts
first: the ``Retry`` itself, then the task's options, then the queue's policy, then Celery's 3 retries after
180 s each.

An exception is retried without being asked to when the task's ``autoretry_for`` or ``retry`` says so, or when
its queue has a retry policy and the task doesn't say ``retry=False``; never one of ``dont_autoretry_for``.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from amqtask import clock
from amqtask.errors import Ignore, MaxRetriesExceeded, Reject, Retry
from amqtask.tasks.options import DEFAULT_MAX_RETRIES, DEFAULT_RETRY_DELAY, TaskOptions, Unset
from amqtask.topology.declarations import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable


class Verdict(Enum):
    """What becomes of a failed attempt."""

    RETRY = "retry"
    EXHAUSTED = "exhausted"
    """It would have been retried, but has been often enough."""
    FAILED = "failed"
    """Nothing asks for a retry."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from an exception.

    Attributes:
        verdict: see :class:`Verdict`.
        error: the exception to report: the cause, not the ``Retry`` around it.
        delay: seconds until the next attempt.
        exact: the delay is one of the policy's own, without jitter, so a retry queue of that delay exists.
        limit: retries permitted; None is no limit.
    """

    verdict: Verdict
    error: BaseException
    delay: float = 0.0
    exact: bool = False
    limit: int | None = None


class Retryable(Protocol):
    """What is asked of a task here."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def options(self) -> TaskOptions: ...  # noqa: D102


def next_delay(
    task: Retryable,
    queue_policy: RetryPolicy | None,
    retries: int,
    error: BaseException,
    *,
    exhausted: BaseException | None = None,
    spread: Callable[[], float] = random.random,
) -> Decision:
    """Decide what follows from an exception that ended an attempt.

    Args:
        task: whose attempt it was.
        queue_policy: ``retry`` of the queue that delivered it, if any.
        retries: how often it has been retried before.
        error: what it raised, a :class:`~amqtask.errors.Retry` included.
        exhausted: what ``self.retry()`` raised when no retry was left (see ``Context.exhausted``).
        spread: draws from 0..1 for jitter.
    """
    if error is exhausted:
        return Decision(Verdict.EXHAUSTED, error, limit=retries)
    options = task.options
    policy = queue_policy if options.retry is not False else None
    asked = error if isinstance(error, Retry) else None
    cause = error if asked is None else asked.exc or error
    if asked is None and not _is_retried(options, policy, error):
        return Decision(Verdict.FAILED, error)
    auto = asked is None and isinstance(error, options.autoretry_for)
    limit = _limit(options, policy, asked, auto)
    if limit is not None and retries >= limit:
        if cause is asked:
            cause = MaxRetriesExceeded(f"{task.name} has used up its {limit} {'retry' if limit == 1 else 'retries'}")
        return Decision(Verdict.EXHAUSTED, cause, limit=limit)
    delay, exact = _asked_delay(options, asked, auto), False
    if delay is None:
        delay, exact = _policy_delay(options, policy, retries, spread)
    return Decision(Verdict.RETRY, cause, delay=max(delay, 0.0), exact=exact, limit=limit)


def _is_retried(options: TaskOptions, policy: RetryPolicy | None, error: BaseException) -> bool:
    if isinstance(error, (Reject, Ignore, *options.dont_autoretry_for)):
        return False
    if isinstance(error, options.autoretry_for) or policy is not None:
        return True
    # with autoretry_for, the task's own policy says how, and autoretry_for says what
    return options.retry is True or (isinstance(options.retry, RetryPolicy) and not options.autoretry_for)


def _limit(options: TaskOptions, policy: RetryPolicy | None, asked: Retry | None, auto: bool) -> int | None:
    if asked is not None and asked.max_retries is not None:
        return asked.max_retries
    if auto and "max_retries" in options.retry_kwargs:
        return options.retry_kwargs["max_retries"]  # type: ignore[no-any-return]
    if not isinstance(options.max_retries, Unset):
        return options.max_retries
    own = options.retry if isinstance(options.retry, RetryPolicy) else policy
    return DEFAULT_MAX_RETRIES if own is None else own.max_retries


def _asked_delay(options: TaskOptions, asked: Retry | None, auto: bool) -> float | None:
    """Seconds that the attempt itself asks for, or ``retry_kwargs``; None leaves it to the policies."""
    if asked is not None and asked.eta is not None:
        return (asked.eta - clock.utcnow()).total_seconds()
    if asked is not None and asked.countdown is not None:
        return _seconds(asked.countdown)
    return _seconds(options.retry_kwargs["countdown"]) if auto and "countdown" in options.retry_kwargs else None


def _policy_delay(
    options: TaskOptions, policy: RetryPolicy | None, retries: int, spread: Callable[[], float]
) -> tuple[float, bool]:
    """Seconds, and whether the queue has a retry queue of just this delay."""
    if isinstance(options.retry, RetryPolicy):
        return options.retry.delay(retries, spread()).total_seconds(), False
    if options.retry_backoff is not None:
        longest = min(options.retry_backoff * 2.0 ** min(retries, 64), options.retry_backoff_max)
        return longest * (spread() if options.retry_jitter else 1.0), False
    if options.default_retry_delay is not None:
        return options.default_retry_delay, False
    if policy is not None:
        return policy.delay(retries, spread()).total_seconds(), bool(policy.delays) and policy.jitter == 0
    return DEFAULT_RETRY_DELAY, False


def _seconds(value: float | timedelta) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else float(value)
