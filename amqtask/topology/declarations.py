"""What a topology is made of: exchanges, queues, bindings, routes and pools, as immutable values.

Owns the vocabulary that routing.yaml, code (``Queue("emails")``) and the layout share. Knows no file
and no broker.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

ExchangeType = Literal["direct", "topic", "fanout", "headers", "x-consistent-hash"]
QueueType = Literal["quorum", "classic", "stream"]
QueueOrder = Literal["strict", "weighted", "fair"]

DEFAULT_EXCHANGE = ""
"""AMQP's default exchange: routes by queue name."""

_MAY_BE_GONE = frozenset({"x-max-length", "x-max-length-bytes", "x-expires"})
"""Raw arguments of a queue that may refuse a message, or not be there any more, when its delay is over."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential delays: ``initial * factor ** n``, at most ``maximum``."""

    initial: timedelta = timedelta(seconds=1)
    factor: float = 2.0
    maximum: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a failed task runs again, and how often.

    Attributes:
        delays: delay before the first, second, ... retry; the last one repeats. Empty: ``backoff`` decides.
        backoff: exponential delays, used when ``delays`` is empty.
        max_retries: retries after the first attempt; None is no limit.
        jitter: fraction (0..1) by which each delay is spread upwards at random. Jittered delays take the
            shared delay ladder, exact ones the queue's own retry queues.
    """

    delays: tuple[timedelta, ...] = ()
    backoff: Backoff | None = None
    max_retries: int | None = 3
    jitter: float = 0.0

    def delay(self, retries: int, spread: float = 0.0) -> timedelta:
        """Delay before retry number ``retries`` (0 is the first).

        Args:
            retries: how many retries there were already.
            spread: a random number 0..1; weighs ``jitter``.
        """
        if self.delays:
            base = self.delays[min(retries, len(self.delays) - 1)]
        else:
            backoff = self.backoff or Backoff()
            try:
                exact = backoff.initial.total_seconds() * backoff.factor**retries
            except OverflowError:
                exact = math.inf
            base = timedelta(seconds=min(exact, backoff.maximum.total_seconds()))
        return base * (1 + self.jitter * spread)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """How long ``<queue>.dead`` keeps messages; None is for ever / without bound."""

    ttl: timedelta | None = None
    max_length: int | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange. ``where`` is the place of its declaration (``routing.yaml:18:5``), for error messages."""

    name: str
    type: ExchangeType = "direct"
    durable: bool = True
    auto_delete: bool = False
    internal: bool = False
    alternate: str | None = None
    bindings: tuple[Binding, ...] = ()
    """Exchange-to-exchange bindings: this exchange receives what ``binding.exchange`` routes with the key."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Binding:
    """Messages of ``exchange`` whose routing key matches go to the object that holds this binding."""

    exchange: str
    routing_key: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Queue:
    """A task queue, with everything amqtask lays out around it (see :mod:`amqtask.topology.layout`).

    Attributes:
        exchange, routing_key: Celery's way to write one binding: ``Queue("a", Exchange("a"), "key")``;
            it becomes the first of ``bindings``.
        type: None lets the layout choose: quorum, or classic where ``max_priority`` needs it (RabbitMQ <
            4.3).
        max_priority: highest message priority, 0..9 with 9 first; None: priorities are not ranked.
        prefetch: messages a worker holds, or None for auto.
        retry: retry policy for every task of this queue; None: only tasks that ask for retries have them.
        delivery_limit: broker-side bound against crash loops, above the worker's own.
        consumer_timeout: how long a delivery may stay unacknowledged (RabbitMQ >= 4.3 enforces it per queue).
        overflow: what a full queue does; ``reject-publish`` makes producers see QueueFull.
        consumer_priority: ``x-priority`` of our consumers on this queue.
        plain: declared as Celery declares it, see :mod:`amqtask.topology.plain`.
        arguments: raw x-arguments, last resort; they win over the derived ones.
    """

    name: str
    exchange: Exchange | None = None
    routing_key: str | None = None
    bindings: tuple[Binding, ...] = ()
    type: QueueType | None = None
    durable: bool = True
    max_priority: int | None = None
    prefetch: int | None = None
    retry: RetryPolicy | None = None
    dead_letter: DeadLetter = DeadLetter()
    delivery_limit: int = 20
    max_length: int | None = None
    max_length_bytes: int | None = None
    overflow: Literal["reject-publish", "drop-head"] = "reject-publish"
    message_ttl: timedelta | None = None
    expires: timedelta | None = None
    consumer_timeout: timedelta | None = None
    consumer_priority: int | None = None
    single_active_consumer: bool = False
    plain: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)
    where: str = field(default="", compare=False)

    @property
    def has_exit(self) -> bool:
        """Delayed messages for it leave the ladder by a queue of their own; see :mod:`amqtask.topology.delays`."""
        limits = (self.max_length, self.max_length_bytes, self.expires)
        return self.plain or limits != (None, None, None) or not _MAY_BE_GONE.isdisjoint(self.arguments)

    def __post_init__(self) -> None:
        if self.exchange is not None and self.exchange.name != DEFAULT_EXCHANGE:
            binding = Binding(self.exchange.name, self.routing_key or "")
            if binding not in self.bindings:
                object.__setattr__(self, "bindings", (binding, *self.bindings))


@dataclass(frozen=True, slots=True)
class Route:
    """Where tasks whose name matches ``task`` are sent; the first matching route wins.

    Attributes:
        task: exact name, glob (``shop.mail.*``) or ``/regex/``.
        queue: send to this queue by the default exchange; or
        exchange, routing_key: send there.
        priority: for tasks that set none themselves.
    """

    task: str
    queue: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    priority: int | None = None
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Pool:
    """A dedicated worker pool: ``amqtask worker --pool-name NAME``.

    Attributes:
        queues: queue name -> weight; the order of the mapping is the strict order.
        pool: prefork, threads, asyncio, solo, ...; None for the setting's default.
        concurrency: slots; None for the pool's default.
        prefetch: messages the worker holds per queue; None leaves it to each queue.
    """

    name: str
    queues: Mapping[str, int]
    order: QueueOrder = "fair"
    pool: str | None = None
    concurrency: int | None = None
    prefetch: int | None = None
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Version:
    """The version of a broker, as its server properties tell it."""

    major: int
    minor: int
    patch: int = 0
    product: str = "RabbitMQ"

    def at_least(self, major: int, minor: int = 0) -> bool:
        """Is the broker this version or newer?"""
        return (self.major, self.minor) >= (major, minor)

    def __str__(self) -> str:
        return f"{self.product} {self.major}.{self.minor}.{self.patch}"


@dataclass(frozen=True, slots=True)
class ExchangeDeclare:
    """Step: an exchange exists with exactly these properties (AMQP exchange.declare).

    When ``lenient``, one that exists with other properties will do.
    """

    name: str
    type: str
    durable: bool = True
    auto_delete: bool = False
    internal: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)
    lenient: bool = False


@dataclass(frozen=True, slots=True)
class QueueDeclare:
    """Step: a queue exists with exactly these properties (AMQP queue.declare).

    When ``lenient``, one that exists with other properties will do. When ``passive``, it is somebody else's, and only
    looked for.
    """

    name: str
    durable: bool = True
    exclusive: bool = False
    auto_delete: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)
    lenient: bool = False
    passive: bool = False


@dataclass(frozen=True, slots=True)
class QueueBind:
    """Step: a queue is bound to an exchange (AMQP queue.bind); idempotent on the broker."""

    queue: str
    exchange: str
    routing_key: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExchangeBind:
    """Step: ``destination`` receives what ``source`` routes with the key (exchange.bind); idempotent."""

    destination: str
    source: str
    routing_key: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)


Step = ExchangeDeclare | QueueDeclare | QueueBind | ExchangeBind
"""One thing a broker can be told about the topology; a plan is an ordered sequence of them."""
