"""The queues that limits over all workers live in. Owns their names and arguments.

    amqtask.limit.<task>.tok        N tokens ──reject──► amqtask.limit.<task>.cool ──after the period──► back
    amqtask.limit.<task>.<key>.per  N permits; each is held unacknowledged while a task runs

Classic queues on purpose: they count no deliveries, and a permit is delivered for ever. Limit and period are arguments
of the queues, so the broker itself tells a worker that means another limit (406).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from amqtask.tasks.limits import Limit, Rate, short_digest
from amqtask.topology.declarations import QueueDeclare

_PREFIX = "amqtask.limit."
_NAME_LENGTH = 230
"""Bytes of a name without its end; AMQP takes 255."""

_TOKENS_MAX = 1000
_UNUSED = 24 * 3600 * 1000
"""Milliseconds after which permits that nobody takes may go; the next worker makes new ones."""


@dataclass(frozen=True, slots=True)
class TokenLayout:
    """The queues of one limit.

    Attributes:
        tokens: queue that tokens are taken from.
        count: how many tokens there are.
        steps: declarations; the queue of the tokens is the last one.
        cool: queue in which spent tokens wait; None: they are only lent.
        lock: name of the queue whose owner may count and add tokens.
    """

    tokens: str
    count: int
    steps: tuple[QueueDeclare, ...]
    cool: str | None
    lock: str


def rate_layout(task: str, rate: Rate) -> TokenLayout:
    """A token per start and period. A very high rate has fewer tokens that cool the shorter, which is stricter."""
    name = _name(task)
    parts = math.ceil(rate.count / _TOKENS_MAX)
    count = -(-rate.count // parts)
    milliseconds = math.ceil(rate.period * 1000 * count / rate.count)
    tokens, cool = f"{name}.tok", f"{name}.cool"
    steps = (
        QueueDeclare(cool, arguments={**_back_to(tokens), "x-message-ttl": milliseconds}),
        QueueDeclare(tokens, arguments={**_back_to(cool), "x-max-length": count, "x-overflow": "reject-publish"}),
    )
    return TokenLayout(tokens, count, steps, cool, f"{name}.lock")


def permit_layout(task: str, key: str | None, limit: Limit) -> TokenLayout:
    """A permit per task that may run at once."""
    name = _name(task) if key is None else _name(f"{task}.{key}")
    permits = f"{name}.per"
    arguments = {"x-max-length": limit.value, "x-expires": _UNUSED}
    return TokenLayout(permits, limit.value, (QueueDeclare(permits, arguments=arguments),), None, f"{name}.lock")


def _back_to(queue: str) -> dict[str, object]:
    return {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue}


def _name(text: str) -> str:
    name = f"{_PREFIX}{text}"
    return name if len(name.encode("utf-8", "replace")) <= _NAME_LENGTH else f"{_PREFIX}{short_digest(text)}"
