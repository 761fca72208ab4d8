"""How a setting is written down: a dataclass field with its kind and its description. Owns that one function."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amqtask.config.kinds import Kind


def setting(default: Any, kind: Kind, doc: str) -> Any:
    """A field of :class:`~amqtask.config.settings.Settings` with its kind and its description."""
    return field(default=default, metadata={"kind": kind, "doc": doc})
