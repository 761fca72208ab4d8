"""The broker's version, as its server properties tell it. Owns the reading of that text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.topology.declarations import Version

if TYPE_CHECKING:
    from collections.abc import Mapping


def read_version(server_properties: Mapping[str, Any] | None) -> Version:
    """Product and version from a broker's server properties; 0.0.0 when it does not say."""
    properties = server_properties or {}
    numbers = []
    for piece in str(properties.get("version", "")).replace("-", ".").replace("+", ".").split(".")[:3]:
        if not piece.isdigit():
            break
        numbers.append(int(piece))
    major, minor, patch = (*numbers, 0, 0, 0)[:3]
    return Version(major, minor, patch, str(properties.get("product", "RabbitMQ")))
