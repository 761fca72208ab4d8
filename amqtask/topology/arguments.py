"""Which x-arguments mean what to which broker: RabbitMQ ignores many that it does not know, silently.

Owns the table and the judgement of one queue's raw arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from amqtask.plugins import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amqtask.topology.declarations import Queue, Version

_ALL = ("quorum", "classic", "stream")


@dataclass(frozen=True, slots=True)
class Rule:
    """What is known of one argument.

    Attributes:
        types: queue types that heed it.
        since: broker version from which on it works; before, it is silently ignored.
        refused: types whose declaration fails with it (AMQP 406).
        instead: the key of routing.yaml that sets it.
    """

    types: tuple[str, ...] = _ALL
    since: tuple[int, int] | None = None
    refused: tuple[str, ...] = ()
    instead: str = ""


QUEUE_ARGUMENTS = {
    "x-queue-type": Rule(instead="type"),
    "x-max-priority": Rule(("classic",), refused=("quorum", "stream"), instead="max_priority"),
    "x-message-ttl": Rule(("classic", "quorum"), (3, 10), instead="message_ttl"),
    "x-expires": Rule(("classic", "quorum"), instead="expires"),
    "x-max-length": Rule(("classic", "quorum"), instead="max_length"),
    "x-max-length-bytes": Rule(instead="max_length_bytes"),
    "x-overflow": Rule(("classic", "quorum"), instead="overflow"),
    "x-single-active-consumer": Rule(("classic", "quorum"), instead="single_active_consumer"),
    "x-delivery-limit": Rule(("quorum",), instead="delivery_limit"),
    "x-consumer-timeout": Rule(("quorum",), (4, 3), refused=("classic",), instead="consumer_timeout"),
    "x-dead-letter-exchange": Rule(("classic", "quorum")),
    "x-dead-letter-routing-key": Rule(("classic", "quorum")),
    "x-dead-letter-strategy": Rule(("quorum",), (3, 10)),
    "x-delayed-retry-type": Rule(("quorum",), (4, 3)),
    "x-delayed-retry-min": Rule(("quorum",), (4, 3)),
    "x-delayed-retry-max": Rule(("quorum",), (4, 3)),
    "x-quorum-initial-group-size": Rule(("quorum",)),
    "x-quorum-target-group-size": Rule(("quorum",), (3, 12)),
    "x-queue-leader-locator": Rule(),
    "x-queue-master-locator": Rule(("classic",)),
    "x-queue-mode": Rule(("classic",)),
    "x-queue-version": Rule(("classic",), (3, 10)),
    "x-max-in-memory-length": Rule(("quorum",)),
    "x-max-in-memory-bytes": Rule(("quorum",)),
}
"""Raw queue arguments that RabbitMQ knows. A ``refused`` with ``since`` holds from then on, too."""


def argument_errors(queue: Queue, kind: str, version: Version | None) -> Iterator[str]:
    """Arguments with which the declaration would fail, in words.

    Args:
        queue: with its raw arguments.
        kind: the type it gets on this broker.
        version: of the broker; None when it is not known, then only what fails everywhere is named.
    """
    raw = queue.arguments
    wanted = raw.get("x-queue-type")
    if wanted is not None and wanted not in ("quorum", "classic"):
        yield f"x-queue-type {wanted!r} can't hold tasks; write quorum or classic"
    if wanted is not None and queue.type is not None and wanted != queue.type:
        yield f"type is {queue.type}, but arguments has x-queue-type: {wanted}; leave the argument out"
    for name in raw:
        rule = QUEUE_ARGUMENTS.get(name, Rule())
        if kind in rule.refused and (rule.since is None or (version is not None and version.at_least(*rule.since))):
            yield f"{name} is refused by every RabbitMQ on a {kind} queue{_fix(name, kind)}"
    if raw.get("x-queue-version") == 1 and version is not None and version.at_least(4, 3):
        yield "x-queue-version: 1 is refused by RabbitMQ 4.3 and later; leave it out"
    drops = raw.get("x-overflow", queue.overflow) == "drop-head"
    if kind == "quorum" and drops and raw.get("x-dead-letter-strategy") == "at-least-once":
        yield "x-dead-letter-strategy: at-least-once needs overflow: reject-publish"
    if kind == "quorum" and raw.get("x-overflow") == "reject-publish-dlx":
        yield "x-overflow: reject-publish-dlx exists for classic queues only"


def argument_warnings(queue: Queue, kind: str, version: Version | None) -> Iterator[str]:
    """Arguments that the broker would ignore, or that a key of routing.yaml says better, in words."""
    for name in queue.arguments:
        rule = QUEUE_ARGUMENTS.get(name)
        if rule is None:
            near = did_you_mean(name, QUEUE_ARGUMENTS)
            yield f"argument {name!r} is not known to RabbitMQ, which would ignore it silently{near}"
        elif version is not None and rule.since is not None and not version.at_least(*rule.since):
            major, minor = rule.since
            yield f"{name} works from RabbitMQ {major}.{minor} on; {version} ignores it silently"
        elif kind not in rule.types and kind not in rule.refused:
            yield f"{name} has no effect on a {kind} queue"
        elif rule.instead:
            yield f"{name} overrides what amqtask derives; the key {rule.instead!r} sets it with checks"


def _fix(name: str, kind: str) -> str:
    if name == "x-max-priority" and kind == "quorum":
        return "; use the key max_priority and leave the type to amqtask"
    return ""
