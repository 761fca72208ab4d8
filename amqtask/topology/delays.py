"""How a message waits in the broker: a retry queue per exact delay, a ladder of queues for any other.

Exact delays (``retry: {delays: [5s, 1m]}`` without jitter) take one hop through a queue of their own::

    publish ──► emails.retry.5000 ──(TTL 5,000 ms)──► default exchange, key "emails" ──► emails

Any other delay takes the ladder, shared by all queues. The delay is counted in ticks of 100 ms, rounded up,
and written in base 16 into the routing key, highest digit first. Level L has one queue per digit d = 1..15,
with a TTL of d * 16**L ticks; a digit 0 costs nothing, its exchange hands on to the next level::

    53.7 s = 537 ticks = 2·16² + 1·16 + 9      key: amqtask-delay.0.0.0.0.2.1.9      header CC: [emails]

    publish ──► exchange amqtask.delay.2 ── digit 2 ──► queue amqtask.delay.2.2    (TTL 51.2 s) ─┐
                         │ digit 0                                                               │ dead letter
                         ▼                                                                       │
                exchange amqtask.delay.1 ◄───────────────────────────────────────────────────────┘
                         │        └─ digit 1 ──► queue amqtask.delay.1.1           (TTL 1.6 s) ──┐
                         ▼ digit 0                                                               │
                exchange amqtask.delay.0 ◄───────────────────────────────────────────────────────┘
                                  └─ digit 9 ──► queue amqtask.delay.0.9           (TTL 0.9 s) ──┐
                                                                                                 │
                emails ◄── default exchange, by the CC header ◄──────────────────────────────────┘

A message enters at the highest digit in use and makes at most 7 hops. Level 0 has a queue for digit 0 too
(TTL 0), so that every message leaves through the default exchange, where the routing key names no queue and
the CC header names the targets: no binding per target is needed. Nothing arrives early; at most one tick late by
rounding.

A plain queue, as Celery declares it, may have workers of Celery's too, and these publish a retry with the routing key
and the headers that the message came with: to a queue named like the ladder's key, and to each target once more. So
such a message carries its target in the header BCC, which the broker takes off, and leaves through one queue more,
whose own routing key replaces the ladder's::

    celery ◄── default exchange, key "celery" ◄── queue amqtask.delay.to.celery (TTL 0) ◄── default exchange, by BCC

So does a message for a queue that may refuse it, or be gone, when its time has come: one with a length limit or an
expiry. What such a queue does not take waits in the exit, where it is in nobody's way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from amqtask.durations import format_duration, to_milliseconds
from amqtask.errors import ConfigError
from amqtask.topology.declarations import (
    DEFAULT_EXCHANGE,
    ExchangeBind,
    ExchangeDeclare,
    Queue,
    QueueBind,
    QueueDeclare,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

HolderType = Literal["quorum", "classic"]
"""Queue types that can hold waiting and dead messages."""

DEAD_SUFFIX = ".dead"
RETRY_INFIX = ".retry."
LADDER_PREFIX = "amqtask.delay."
"""Start of the names of the ladder's exchanges (``….<level>``) and queues (``….<level>.<digit>``)."""
EXIT_PREFIX = f"{LADDER_PREFIX}to."
"""Start of the names of the queues through which messages leave the ladder for a queue with an exit of its own."""
KEY_WORD = "amqtask-delay"
"""First word of every ladder routing key; no queue may be named ``amqtask-delay.…``."""

BASE = 16
LEVELS = 7
TICK = timedelta(milliseconds=100)
LONGEST = TICK * (BASE**LEVELS - 1)
"""The longest delay the ladder can hold: a little over 310 days."""

NO_LIMIT = 2**31 - 1
"""``x-delivery-limit`` of queues that must never drop what was looked at often: RabbitMQ 4 defaults to 20,
and the -1 that means no limit there makes 3.10 drop a message at its first return (measured)."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to publish a message so that it arrives after its delay.

    ``headers`` are to be merged into the message's own; ``x-death``, ``CC`` and ``BCC`` of an earlier trip must be
    stripped.
    """

    exchange: str
    routing_key: str
    headers: Mapping[str, Any] = field(default_factory=dict)


def dead_name(queue: str) -> str:
    """Name of the queue that keeps the messages that failed in ``queue``."""
    return queue + DEAD_SUFFIX


def retry_name(queue: str, delay: timedelta) -> str:
    """Name of the queue in which retries of ``queue`` wait for exactly ``delay``, in milliseconds."""
    return f"{queue}{RETRY_INFIX}{to_milliseconds(delay)}"


def exact_delays(queue: Queue) -> tuple[timedelta, ...]:
    """The distinct delays, in order, that have retry queues; none when the retries are jittered."""
    if queue.retry is None or queue.retry.jitter > 0:
        return ()
    by_milliseconds = {to_milliseconds(delay): delay for delay in queue.retry.delays}
    return tuple(delay for milliseconds, delay in by_milliseconds.items() if milliseconds > 0)


def retry_target(queue: Queue, delay: timedelta, exact: bool) -> Target:
    """Where a retry of a message of ``queue`` waits.

    Args:
        queue: the queue the message failed in, and to which it returns.
        delay: how long to wait.
        exact: the delay is one of the queue's own retry delays, not jittered and not chosen by the task.

    Raises:
        ConfigError: the delay is longer than :data:`LONGEST`.
    """
    if exact and to_milliseconds(delay) in {to_milliseconds(known) for known in exact_delays(queue)}:
        return Target(DEFAULT_EXCHANGE, retry_name(queue.name, delay))
    return delay_target([queue.name], delay, [queue.name] if queue.has_exit else ())


def delay_target(queues: Sequence[str], delay: timedelta, exits: Collection[str] = ()) -> Target:
    """Where a message for ``queues`` waits in the ladder; a negative delay is none.

    Args:
        queues: names.
        delay: how long.
        exits: those of them that have an exit of their own, and need :func:`exit_step`.

    Raises:
        ConfigError: no queue, or the delay is longer than :data:`LONGEST`.
    """
    if not queues:
        raise ConfigError("a delayed message needs at least one queue to go to")
    left = _ticks(delay)
    digits = []
    for _ in range(LEVELS):
        left, digit = divmod(left, BASE)
        digits.append(str(digit))
    level = max((at for at, digit in enumerate(digits) if digit != "0"), default=0)
    key = ".".join([KEY_WORD, *reversed(digits)])
    if not exits:
        return Target(ladder_exchange(level), key, {"CC": list(queues)})
    # all of them, for RabbitMQ 4 leaves CC on a message whose key a queue has replaced
    return Target(ladder_exchange(level), key, {"BCC": [exit_name(q) if q in exits else q for q in queues]})


def delayed_queues(headers: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Names of the queues that a message with these headers goes to when its time has come; empty without any."""
    lists = [] if headers is None else [headers.get("CC"), headers.get("BCC")]
    keys = (key for keys in lists if isinstance(keys, list | tuple) for key in keys)  # they may be somebody's own
    return tuple(key.removeprefix(EXIT_PREFIX) for key in keys if isinstance(key, str))


def exit_name(queue: str) -> str:
    """Name of the queue through which messages leave the ladder for ``queue``, if it has an exit of its own."""
    return EXIT_PREFIX + queue


def exit_step(queue: str) -> QueueDeclare:
    """The queue of :func:`exit_name`: the broker hands on with ``queue`` as the routing key, as soon as that takes it.

    A quorum queue, whatever the ladder's are: a classic one would drop what is refused. One that another version has
    made is used as it is.
    """
    arguments = {**holding_arguments("quorum", DEFAULT_EXCHANGE, queue), "x-message-ttl": 0}
    return QueueDeclare(exit_name(queue), arguments=arguments, lenient=True)


def remedy(name: str) -> str:
    """What to do about a missing exchange or queue of this name where it may not be declared."""
    if not name.startswith(LADDER_PREFIX):
        return "create it with 'amqtask topology apply'"
    queue = name.removeprefix(EXIT_PREFIX)
    first = "the first program that may declare makes it, when it sends with"
    if queue == name:
        return f"{first} as long a delay"
    return f"{first} a delay to queue {queue!r}, or 'amqtask topology apply', where that is declared"


def ladder_exchange(level: int) -> str:
    """Name of the exchange of one ladder level."""
    return f"{LADDER_PREFIX}{level}"


def ladder_level(exchange: str) -> int | None:
    """The level whose exchange has this name, or None when it is no ladder exchange."""
    digit = exchange.removeprefix(LADDER_PREFIX)
    if digit == exchange or len(digit) != 1 or digit not in "0123456":
        return None
    return int(digit)


def ladder_steps(level: int, type: HolderType = "quorum") -> tuple[Step, ...]:  # noqa: A002 -- AMQP's word
    """Everything messages need that enter at ``level`` or below: exchanges first, then queues and bindings.

    Args:
        level: 0..6; each level holds 16 times the delay of the one below.
        type: quorum survives the loss of a node; classic takes a third of the broker's time.
    """
    exchanges = tuple(ExchangeDeclare(ladder_exchange(at), "topic") for at in range(level + 1))
    return exchanges + tuple(step for at in range(level + 1) for step in _level_steps(at, type))


def holding_arguments(type: HolderType, target: str, routing_key: str | None = None) -> dict[str, Any]:  # noqa: A002
    """Arguments of a queue that keeps messages until they expire, then hands them to the exchange ``target``.

    Quorum queues hand on at least once: the message leaves only when the next queue has confirmed it, and
    waits on while that queue is missing or full. Classic queues cannot do that.
    """
    arguments: dict[str, Any] = {"x-queue-type": type, "x-dead-letter-exchange": target}
    if routing_key is not None:
        arguments["x-dead-letter-routing-key"] = routing_key
    if type == "quorum":
        arguments["x-dead-letter-strategy"] = "at-least-once"
        arguments["x-overflow"] = "reject-publish"
        arguments["x-delivery-limit"] = NO_LIMIT
    return arguments


def _level_steps(level: int, type: HolderType) -> list[Step]:  # noqa: A002
    source = ladder_exchange(level)
    below = ladder_exchange(level - 1) if level else DEFAULT_EXCHANGE
    steps: list[Step] = []
    for digit in range(1 if level else 0, BASE):
        queue = f"{source}.{digit}"
        wait = to_milliseconds(TICK) * digit * BASE**level
        steps.append(QueueDeclare(queue, arguments={**holding_arguments(type, below), "x-message-ttl": wait}))
        steps.append(QueueBind(queue, source, _pattern(level, digit)))
    if level:
        steps.append(ExchangeBind(below, source, _pattern(level, 0)))
    return steps


def _pattern(level: int, digit: int) -> str:
    return ".".join([KEY_WORD, *["*"] * (LEVELS - 1 - level), str(digit), *["*"] * level])


def _ticks(delay: timedelta) -> int:
    if delay > LONGEST:
        raise ConfigError(f"a delay of {format_duration(delay)} is too long; the longest is {format_duration(LONGEST)}")
    return max(-(-delay // TICK), 0)
