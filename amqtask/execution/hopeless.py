"""Errors of the broker that trying again does not mend. Owns which these are, for tasks that would try for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from amqtask.errors import AccessRefused, MessageTooLarge, PartialPublish, Unroutable

if TYPE_CHECKING:
    from amqtask.errors import PublishError

HOPELESS: Final = (AccessRefused, MessageTooLarge)
"""Whoever raises them. That nothing takes a message is among them only where it is known what was to be sent."""


def is_hopeless(error: PublishError) -> bool:
    """Whether a message can't be sent as it is, or one of several; all others would be sent again each time."""
    found = error.errors.values() if isinstance(error, PartialPublish) else [error]
    return any(isinstance(one, (Unroutable, *HOPELESS)) for one in found)
