"""What may be declared: reserved names, properties of quorum queues, and declarations of what exists.

Owns these checks; arguments have their own in ``arguments``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.testing.devbroker.engine.arguments import CLASSIC, known_to
from amqtask.testing.devbroker.engine.equivalence import require_same, require_same_arguments
from amqtask.testing.devbroker.engine.errors import access_refused, locked, precondition_failed

if TYPE_CHECKING:
    from amqtask.testing.devbroker.engine.exchanges import Exchange
    from amqtask.testing.devbroker.engine.queues import Queue


def refuse_default(exchange: str) -> None:
    """Refuse to touch the default exchange.

    Raises:
        ChannelFault: 403.
    """
    if not exchange:
        raise access_refused("operation not permitted on the default exchange")


def refuse_reserved(kind: str, name: str) -> None:
    """Refuse names that belong to the broker.

    Raises:
        ChannelFault: 403.
    """
    if name.startswith("amq."):
        raise access_refused(f"{kind} name '{name}' contains reserved prefix 'amq.*'")


def refuse_for_quorum(name: str, vhost: str, *, auto_delete: bool, exclusive: bool, durable: bool) -> None:
    """Refuse what a quorum queue can't be.

    Raises:
        ChannelFault: 406.
    """
    for text, wrong in (("auto-delete", auto_delete), ("exclusive-owner", exclusive), ("non-durable", not durable)):
        if wrong:
            raise precondition_failed(f"invalid property '{text}' for queue '{name}' in vhost '{vhost}'")


def require_same_queue(
    queue: Queue, vhost: str, owner: object | None, *, durable: bool, auto_delete: bool, arguments: dict[str, Any]
) -> None:
    """Compare a declaration with the queue of that name.

    Raises:
        ChannelFault: 405, it is exclusive to another owner, or not exclusive; 406, it differs.
    """
    if queue.owner is not owner:
        raise locked(queue.name, vhost)
    properties = ("durable", durable, queue.durable), ("auto_delete", auto_delete, queue.auto_delete)
    require_same("queue", queue.name, vhost, properties)
    received, current = ({"x-queue-type": CLASSIC, **either} for either in (arguments, queue.arguments))
    require_same_arguments("queue", queue.name, vhost, known_to(queue.kind), received, current)


def require_same_exchange(exchange: Exchange, vhost: str, wanted: Exchange) -> None:
    """Compare a declaration with the exchange of that name.

    Raises:
        ChannelFault: 406, it differs.
    """
    properties = (
        ("type", wanted.kind, exchange.kind),
        ("durable", wanted.durable, exchange.durable),
        ("auto_delete", wanted.auto_delete, exchange.auto_delete),
        ("internal", wanted.internal, exchange.internal),
    )
    require_same("exchange", exchange.name, vhost, properties)
    known = ("alternate-exchange",)
    require_same_arguments("exchange", exchange.name, vhost, known, wanted.arguments, exchange.arguments)
