"""Kinds of values in routing.yaml: each reads a node and describes itself as JSON Schema.

Owns the reading of single values and their error messages; :mod:`amqtask.topology.records` owns lists and
mappings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from amqtask.durations import parse_duration
from amqtask.errors import ConfigError
from amqtask.plugins import did_you_mean
from amqtask.topology.nodes import INVALID

if TYPE_CHECKING:
    from amqtask.topology.nodes import Node, Report


class Kind(Protocol):
    """What a place in the document may hold."""

    @property
    def expected(self) -> str:
        """What to write, in words: "a duration"."""

    @property
    def example(self) -> str:
        """A value to copy: "5s"."""

    def read(self, node: Node, report: Report) -> Any:
        """The value, or ``INVALID`` after noting why in the report."""

    def fits(self, node: Node) -> bool:
        """Is the node of this kind's shape, so that a detailed message of this kind helps most?"""

    def schema(self) -> dict[str, Any]:
        """JSON Schema that accepts what :meth:`read` accepts."""


def refuse(node: Node, report: Report, kind: Kind, reason: str = "") -> Any:
    """Note that the node is not of the kind; returns ``INVALID``."""
    if node.value is not INVALID:
        place = f"{node.path}: " if node.path else ""
        why = reason or f"got {shown(node)}"
        report.add(node, f"{place}expected {kind.expected}, for example {kind.example}; {why}")
    return INVALID


def shown(node: Node) -> str:
    """The node's value, short enough for a message."""
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, bool):
        return str(node.value).lower()
    text = repr(node.value)
    return text if len(text) <= 60 else text[:57] + "...'"  # noqa: PLR2004 -- a line's worth


@dataclass(frozen=True)
class Text:
    """A string.

    Args:
        expected: in words.
        example: to copy.
        most: characters at most; 0 is no bound.
        empty: is "" allowed?
    """

    expected: str
    example: str
    most: int = 0
    empty: bool = False

    def read(self, node: Node, report: Report) -> Any:
        """See :class:`Kind`."""
        value = node.value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return refuse(node, report, self, f'the number {value} is not text; write "{value}" in quotes')
        if not isinstance(value, str):
            return refuse(node, report, self)
        if not value and not self.empty:
            return refuse(node, report, self, "it is empty")
        if self.most and len(value) > self.most:
            return refuse(node, report, self, f"it is longer than {self.most} characters")
        return value

    def fits(self, node: Node) -> bool:
        """See :class:`Kind`."""
        return isinstance(node.value, str)

    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        schema: dict[str, Any] = {"type": "string"}
        if not self.empty:
            schema["minLength"] = 1
        if self.most:
            schema["maxLength"] = self.most
        return schema


@dataclass(frozen=True)
class Integer:
    """A whole number between two bounds, both included."""

    what: str
    least: int
    most: int
    example: str

    @property
    def expected(self) -> str:
        """See :class:`Kind`."""
        return f"{self.what} ({self.least} to {self.most})"

    def read(self, node: Node, report: Report) -> Any:
        """See :class:`Kind`."""
        if self.fits(node) and self.least <= node.value <= self.most:
            return node.value
        return refuse(node, report, self)

    def fits(self, node: Node) -> bool:
        """See :class:`Kind`."""
        return isinstance(node.value, int) and not isinstance(node.value, bool)

    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True)
class Number:
    """A number of at least 1, such as a factor."""

    expected: str
    example: str

    def read(self, node: Node, report: Report) -> Any:
        """See :class:`Kind`."""
        return float(node.value) if self.fits(node) and node.value >= 1 else refuse(node, report, self)

    def fits(self, node: Node) -> bool:
        """See :class:`Kind`."""
        return isinstance(node.value, int | float) and not isinstance(node.value, bool)

    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"type": "number", "minimum": 1}


@dataclass(frozen=True)
class Flag:
    """``true`` or ``false``."""

    expected: str = "true or false"
    example: str = "true"

    def read(self, node: Node, report: Report) -> Any:
        """See :class:`Kind`."""
        return node.value if self.fits(node) else refuse(node, report, self)

    def fits(self, node: Node) -> bool:
        """See :class:`Kind`."""
        return isinstance(node.value, bool)

    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"type": "boolean"}


@dataclass(frozen=True)
class Choice:
    """One of some fixed values; ``result`` maps those that mean something else than themselves."""

    values: tuple[str | int | bool, ...]
    result: tuple[tuple[str | int | bool, Any], ...] = ()

    @property
    def expected(self) -> str:
        """See :class:`Kind`."""
        words = [str(value).lower() if isinstance(value, bool) else str(value) for value in self.values]
        return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"

    @property
    def example(self) -> str:
        """See :class:`Kind`."""
        first = self.values[0]
        return str(first).lower() if isinstance(first, bool) else str(first)

    def read(self, node: Node, report: Report) -> Any:
        """See :class:`Kind`."""
        for value in self.values:
            if type(value) is type(node.value) and value == node.value:
                return dict(self.result).get(value, value)
        near = did_you_mean(node.value, map(str, self.values)) if isinstance(node.value, str) else ""
        return refuse(node, report, self, f"got {shown(node)}{near}")

    def fits(self, node: Node) -> bool:
        """See :class:`Kind`."""
        return any(type(value) is type(node.value) and value == node.value for value in self.values)

    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"const": self.values[0]} if len(self.values) == 1 else {"enum": list(self.values)}


_DURATION = r"^(\d{1,9}(\.\d{1,6})?(ms|s|m|h|d|w) ?){1,6}$"
_LONGEST = timedelta(days=3650)  # what RabbitMQ accepts as a TTL


@dataclass(frozen=True)
class Duration:
    """``250ms``, ``5s``, ``1h30m``, or a number of seconds."""

    example: str = "5s"
    expected: str = "a duration"

    def read(self, node: Node, report: Report) -> Any:
        """See :class:`Kind`."""
        value = node.value
        if not self.fits(node) or (isinstance(value, str) and not re.search(_DURATION, value)):
            return refuse(node, report, self)
        try:
            duration = parse_duration(value)
        except ConfigError:
            return refuse(node, report, self)
        return duration if duration <= _LONGEST else refuse(node, report, self, "that is over ten years")

    def fits(self, node: Node) -> bool:
        """See :class:`Kind`."""
        return isinstance(node.value, str | int | float) and not isinstance(node.value, bool)

    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        longest = int(_LONGEST.total_seconds())
        return {
            "anyOf": [
                {"type": "string", "pattern": _DURATION},
                {"type": "number", "minimum": 0, "maximum": longest},
            ]
        }


_PERCENT = r"^(100|\d{1,2}(\.\d{1,6})?)%$"


@dataclass(frozen=True)
class Fraction:
    """``10%``, or 0.1."""

    expected: str = "a share"
    example: str = "10% or 0.1"

    def read(self, node: Node, report: Report) -> Any:
        """See :class:`Kind`."""
        value = node.value
        if isinstance(value, str) and re.search(_PERCENT, value):
            return float(value[:-1]) / 100
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
            return float(value)
        return refuse(node, report, self)

    def fits(self, node: Node) -> bool:
        """See :class:`Kind`."""
        return isinstance(node.value, str | int | float) and not isinstance(node.value, bool)

    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {
            "anyOf": [
                {"type": "string", "pattern": _PERCENT},
                {"type": "number", "minimum": 0, "maximum": 1},
            ]
        }
