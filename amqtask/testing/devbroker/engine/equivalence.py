"""Whether a declaration is the same as what exists. Owns the comparison and RabbitMQ's texts for a difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.testing.devbroker.engine.errors import inequivalent
from amqtask.testing.devbroker.engine.notation import printed, printed_with_type, type_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_INTEGERS = frozenset(("signedint", "long"))


def require_same(kind: str, name: str, vhost: str, properties: Iterable[tuple[str, Any, Any]]) -> None:
    """Compare properties, given as name, received and current value.

    Raises:
        ChannelFault: 406 for the first that differs.
    """
    for argument, received, current in properties:
        if received != current:
            raise inequivalent(argument, kind, name, vhost, printed(received), printed(current))


def require_same_arguments(
    kind: str, name: str, vhost: str, known: Iterable[str], received: Mapping[str, Any], current: Mapping[str, Any]
) -> None:
    """Compare the arguments that RabbitMQ reads; it ignores others.

    Raises:
        ChannelFault: 406 for the first that differs.
    """
    for argument in known:
        if argument in received and argument in current:
            if not _same(received[argument], current[argument]):
                texts = printed(received[argument]), printed(current[argument])
                raise inequivalent(argument, kind, name, vhost, *texts)
        elif argument in received:
            raise inequivalent(argument, kind, name, vhost, printed_with_type(received[argument]), "none")
        elif argument in current:
            raise inequivalent(argument, kind, name, vhost, "none", printed_with_type(current[argument]))


def _same(received: Any, current: Any) -> bool:
    kinds = {type_name(received), type_name(current)}
    return bool(received == current) and (len(kinds) == 1 or kinds <= _INTEGERS)
