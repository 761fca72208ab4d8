"""Arguments of declarations: which there are, which values they take, and what a queue makes of them.

Owns the checks with RabbitMQ's texts (406) and the typed :class:`QueueOptions`; unknown arguments pass unread, as in
RabbitMQ. Whether two declarations are the same is decided in ``equivalence``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from amqtask.testing.devbroker.engine.errors import (
    INTERNAL_ERROR,
    ChannelFault,
    ConnectionFault,
    not_implemented,
    precondition_failed,
)
from amqtask.testing.devbroker.engine.notation import type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CLASSIC, QUORUM = "classic", "quorum"
DROP_HEAD, REJECT_PUBLISH, REJECT_PUBLISH_DLX = "drop-head", "reject-publish", "reject-publish-dlx"
DEFAULT_DELIVERY_LIMIT: Final = 20
MAX_PRIORITY: Final = 255
OLD_LOCATOR: Final = "x-queue-master-locator"
MAX_EXPIRY: Final = 315_360_000_000  # ten years in milliseconds, RabbitMQ's own bound


class _Bad(Exception):
    """Why a value is refused, in Erlang's notation."""


def _integer(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _Bad(f'"expected integer, got {type_name(value)}"')


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise _Bad(f"{{unacceptable_type,{type_name(value)}}}")


def _count(value: Any, _: Mapping[str, Any]) -> None:
    if _integer(value) < 0:
        raise _Bad(f"{{value_negative,{value}}}")


def _positive(value: Any, arguments: Mapping[str, Any]) -> None:
    _count(value, arguments)
    if value == 0:
        raise _Bad("{value_zero,0}")


def _ttl(value: Any, arguments: Mapping[str, Any]) -> None:
    _count(value, arguments)
    if value > MAX_EXPIRY:
        raise _Bad(f"{{value_too_large,{value}}}")


def _expires(value: Any, arguments: Mapping[str, Any]) -> None:
    _ttl(value, arguments)
    _positive(value, arguments)


def _priority(value: Any, arguments: Mapping[str, Any]) -> None:
    _count(value, arguments)
    if value > MAX_PRIORITY:
        raise _Bad(f"{{max_value_exceeded,{value}}}")


def _boolean(value: Any, _: Mapping[str, Any]) -> None:
    if not isinstance(value, bool):
        raise _Bad(f"{{unacceptable_type,{type_name(value)}}}")


def _anything(_value: Any, _: Mapping[str, Any]) -> None:
    """RabbitMQ takes any value and goes on as if a wrong one were not there."""


def _any_text(value: Any, _: Mapping[str, Any]) -> None:
    _text(value)


def _dead_letter_key(value: Any, arguments: Mapping[str, Any]) -> None:
    _text(value)
    if "x-dead-letter-exchange" not in arguments:
        raise _Bad("routing_key_but_no_dlx_defined")


def _one_of(refusal: str, *choices: str) -> Callable[[Any, Mapping[str, Any]], None]:
    def check(value: Any, _: Mapping[str, Any]) -> None:
        if _text(value) not in choices:
            raise _Bad(refusal.format(value))

    return check


def _version(value: Any, arguments: Mapping[str, Any]) -> None:
    _count(value, arguments)
    if value != 2:  # noqa: PLR2004 - RabbitMQ 4.3 dropped version 1
        raise _Bad(f"\"unsupported queue version '{value}'\"")


_queue_type = _one_of("\"unsupported queue type '{}'\"", CLASSIC, QUORUM, "stream")
# In RabbitMQ's order, which decides what is complained of first.
_BOTH = {
    "x-expires": _expires,
    "x-message-ttl": _ttl,
    "x-dead-letter-exchange": _any_text,
    "x-dead-letter-routing-key": _dead_letter_key,
    "x-max-length": _count,
    "x-max-length-bytes": _count,
    "x-overflow": _one_of("invalid_overflow", DROP_HEAD, REJECT_PUBLISH, REJECT_PUBLISH_DLX),
    "x-single-active-consumer": _boolean,
    "x-queue-leader-locator": _one_of("invalid_queue_locator_arg", "client-local", "balanced"),
    "x-queue-type": _queue_type,
}
_OWN = {
    CLASSIC: {
        "x-max-priority": _priority,
        "x-queue-mode": _anything,
        "x-queue-version": _version,
    },
    QUORUM: {
        "x-dead-letter-strategy": _one_of("invalid_dlx_strategy", "at-most-once", "at-least-once"),
        "x-delivery-limit": _anything,
        "x-max-in-memory-length": _count,
        "x-max-in-memory-bytes": _count,
        "x-quorum-initial-group-size": _positive,
        "x-consumer-timeout": _count,
        "x-delayed-retry-type": _anything,
        "x-delayed-retry-min": _anything,
        "x-delayed-retry-max": _anything,
    },
}
_RETRY_KINDS = {
    "failed": frozenset((True,)),
    "returned": frozenset((False,)),
    "all": frozenset((True, False)),
}
_OF_OTHER_CONSUMERS = {CLASSIC: ("x-stream-offset", "x-consumer-timeout"), QUORUM: ("x-stream-offset",)}
_DEPRECATED: Final = (
    "INTERNAL_ERROR - Feature `queue_master_locator` is deprecated.\n"
    "By default, this feature is not permitted anymore.\n"
    "The feature will be removed from a future major RabbitMQ version, regardless of the configuration; actual version "
    "to be determined.\nTo con..."
)
_STREAM_ONLY = frozenset(
    (
        "x-max-age",
        "x-stream-max-segment-size-bytes",
        "x-stream-filter-size-bytes",
        "x-initial-cluster-size",
    )
)


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """What a queue's arguments mean; times in milliseconds, None: not set."""

    quorum: bool
    ttl: int | None
    expires: int | None
    dead_letter_exchange: str | None
    dead_letter_routing_key: str | None
    at_least_once: bool
    max_length: int | None
    max_bytes: int | None
    overflow: str
    max_priority: int
    delivery_limit: int | None
    single_active: bool
    retry_kinds: frozenset[bool]
    """Which returned messages come back later: those that failed (True), others (False)."""
    retry_min: int
    retry_max: int
    consumer_timeout: int | None


def known_to(kind: str) -> list[str]:
    """The arguments that a queue type reads, which a second declaration must repeat."""
    return [*_BOTH, *_OWN[kind]]


def read_queue(name: str, vhost: str, arguments: Mapping[str, Any]) -> QueueOptions:
    """Check the arguments of a queue that is to be made.

    Raises:
        ChannelFault: 406, a bad type or value, or an argument of another queue type.
        ConnectionFault: 540, a queue type that the dev broker has not got; 541, an argument that RabbitMQ gave up.
    """
    subject = f"queue '{name}' in vhost '{vhost}'"
    exchange = arguments.get("x-dead-letter-exchange", "")
    if not isinstance(exchange, str):
        raise wrong_name_type("x-dead-letter-exchange", exchange, subject)
    _check(subject, arguments, {"x-queue-type": _queue_type})
    kind = arguments.get("x-queue-type", CLASSIC)
    if kind == "stream":
        raise not_implemented("the dev broker has no streams (x-queue-type: stream)")
    _check(subject, arguments, {**_BOTH, **_OWN[kind]})
    foreign = {*_OWN[QUORUM if kind == CLASSIC else CLASSIC], *_STREAM_ONLY}
    if kind == QUORUM:
        foreign.add(OLD_LOCATOR)
    for argument in arguments:
        if argument in foreign:
            raise _of_another_kind(argument, subject, kind)
    if OLD_LOCATOR in arguments:
        raise ConnectionFault(INTERNAL_ERROR, _DEPRECATED)
    return _options(kind, arguments)


def wrong_name_type(argument: str, value: Any, subject: str) -> ChannelFault:
    """An argument that names an exchange is no string."""
    return precondition_failed(f"invalid type '{type_name(value)}' for arg '{argument}' in {subject}")


class ConsumerOptions(NamedTuple):
    """What a consumer's arguments mean."""

    priority: int
    timeout: int | None
    """In milliseconds; None: not set."""


def read_consumer(name: str, vhost: str, kind: str, arguments: Mapping[str, Any]) -> ConsumerOptions:
    """Check the arguments of a consumer.

    Args:
        name: the queue's.
        vhost: the queue's.
        kind: the queue's, classic or quorum.
        arguments: the consumer's.

    Raises:
        ChannelFault: 406, a bad value, or an argument for another type of queue.
    """
    subject = f"queue '{name}' in vhost '{vhost}'"
    _check(subject, arguments, {"x-priority": lambda value, _: _integer(value)})
    for argument in _OF_OTHER_CONSUMERS[kind]:
        if argument in arguments:
            raise _of_another_kind(argument, subject, kind)
    _check(subject, arguments, {"x-consumer-timeout": _count})
    return ConsumerOptions(arguments.get("x-priority", 0), arguments.get("x-consumer-timeout"))


def _of_another_kind(argument: str, subject: str, kind: str) -> ChannelFault:
    return precondition_failed(f"invalid arg '{argument}' for {subject} of queue type rabbit_{kind}_queue")


def _check(subject: str, arguments: Mapping[str, Any], checks: Mapping[str, Callable[..., Any]]) -> None:
    for argument, check in checks.items():
        if argument in arguments:
            try:
                check(arguments[argument], arguments)
            except _Bad as bad:
                raise precondition_failed(f"invalid arg '{argument}' for {subject}: {bad}") from None


def _options(kind: str, arguments: Mapping[str, Any]) -> QueueOptions:
    get = arguments.get
    quorum = kind == QUORUM
    exchange, overflow = get("x-dead-letter-exchange"), get("x-overflow", DROP_HEAD)
    if quorum and overflow == REJECT_PUBLISH_DLX:
        overflow = DROP_HEAD  # RabbitMQ logs that quorum queues don't know it and goes on like this
    limit = _integer_or(get("x-delivery-limit"), DEFAULT_DELIVERY_LIMIT)
    retry_min = _integer_or(get("x-delayed-retry-min"), 0)
    return QueueOptions(
        quorum=quorum,
        ttl=get("x-message-ttl"),
        expires=get("x-expires"),
        dead_letter_exchange=exchange,
        dead_letter_routing_key=get("x-dead-letter-routing-key"),
        at_least_once=(
            exchange is not None and overflow == REJECT_PUBLISH and get("x-dead-letter-strategy") == "at-least-once"
        ),
        max_length=get("x-max-length"),
        max_bytes=get("x-max-length-bytes"),
        overflow=overflow,
        max_priority=get("x-max-priority", 0),
        delivery_limit=limit if quorum and limit >= 0 else None,
        single_active=get("x-single-active-consumer", False),
        retry_kinds=_RETRY_KINDS.get(str(get("x-delayed-retry-type")), frozenset()) if retry_min > 0 else frozenset(),
        retry_min=retry_min,
        retry_max=_integer_or(get("x-delayed-retry-max"), retry_min),
        consumer_timeout=get("x-consumer-timeout"),
    )


def _integer_or(value: Any, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default
