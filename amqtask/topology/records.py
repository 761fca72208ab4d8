"""Composite kinds of routing.yaml: lists, mappings by name, records of fixed keys, alternatives.

Owns unknown keys, missing keys and keys that exclude each other. A record is read as a dict of the keys that
are there, plus ``where``, the place of the record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from amqtask.plugins import did_you_mean
from amqtask.topology.kinds import Kind, refuse
from amqtask.topology.nodes import INVALID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amqtask.topology.nodes import Node, Report


@dataclass(frozen=True)
class Key:
    """One key of a record.

    Args:
        kind: what it holds.
        doc: one sentence for editors and the reference page.
        required: must it be there?
        default: what holds without it, in words; empty when the sentence says so.
    """

    kind: Kind
    doc: str
    required: bool = False
    default: str = ""


@dataclass(frozen=True)
class Record:
    """A mapping of fixed keys.

    Args:
        what: name of the record, with an article, for messages.
        example: to copy.
        keys: in the order of the reference page.
        one_of: exactly one of these keys must be there.
        only_with: key -> the key it needs beside it.
        at_most_one: these keys exclude each other.
        short: may be left empty (``emails:``), which means all defaults.
    """

    what: str
    example: str
    keys: Mapping[str, Key]
    one_of: tuple[str, ...] = ()
    only_with: Mapping[str, str] = field(default_factory=dict)
    at_most_one: tuple[str, ...] = ()
    short: bool = False

    @property
    def expected(self) -> str:
        """See :class:`Kind`."""
        return self.what

    def read(self, node: Node, report: Report) -> Any:
        """See :class:`Kind`."""
        if node.value is None and self.short:
            return {"where": report.where(node)}
        if not isinstance(node.value, dict):
            return refuse(node, report, self)
        before = report.count
        values: dict[str, Any] = {"where": report.where(node)}
        for name, entry in node.value.items():
            key = self.keys.get(name)
            if key is None:
                near = did_you_mean(name, self.keys) or f"; it has {', '.join(self.keys)}"
                report.add(entry, f"{self.what} has no key {name!r}{near}")
                continue
            value = key.kind.read(entry.node, report)
            if value is not INVALID:
                values[name] = value
        self._check_presence(node, report)
        return values if report.count == before else INVALID

    def fits(self, node: Node) -> bool:
        """See :class:`Kind`."""
        return isinstance(node.value, dict)

    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        schema: dict[str, Any] = {
            "type": ["object", "null"] if self.short else "object",
            "additionalProperties": False,
            "properties": {
                name: {**key.kind.schema(), "description": _described(key)} for name, key in self.keys.items()
            },
        }
        if required := [name for name, key in self.keys.items() if key.required]:
            schema["required"] = required
        if self.one_of:
            schema["oneOf"] = [{"required": [name]} for name in self.one_of]
        if self.only_with:
            schema["dependentRequired"] = {name: [other] for name, other in self.only_with.items()}
        if self.at_most_one:
            schema["not"] = {"required": list(self.at_most_one)}
        return schema

    def _check_presence(self, node: Node, report: Report) -> None:
        there = set(node.value)
        for name, key in self.keys.items():
            if key.required and name not in there:
                report.add(node, f"{self.what} needs the key {name!r}, for example {name}: {key.kind.example}")
        chosen = [name for name in self.one_of if name in there]
        if self.one_of and len(chosen) != 1:
            either = " or ".join(repr(name) for name in self.one_of)
            report.add(node, f"{self.what} needs either {either}{', not both' if chosen else ''}")
        for name, other in self.only_with.items():
            if name in there and other not in there:
                report.add(node.value[name], f"{name!r} says something only beside {other!r}")
        if self.at_most_one and there.issuperset(self.at_most_one):
            both = " and ".join(repr(name) for name in self.at_most_one)
            report.add(node, f"{self.what} can't have both {both}")


@dataclass(frozen=True)
class ListOf:
    """A list of one kind.

    Args:
        kind: of each item.
        what: in words.
        least: items at least.
        short: may be left empty, which means no items.
    """

    kind: Kind
    what: str
    least: int = 0
    short: bool = False

    @property
    def expected(self) -> str:
        """See :class:`Kind`."""
        return self.what

    @property
    def example(self) -> str:
        """See :class:`Kind`."""
        return f"[{self.kind.example}]"

    def read(self, node: Node, report: Report) -> Any:
        """See :class:`Kind`."""
        if node.value is None and self.short:
            return []
        if not isinstance(node.value, list):
            return refuse(node, report, self)
        if len(node.value) < self.least:
            return refuse(node, report, self, "it is empty")
        values = [self.kind.read(item, report) for item in node.value]
        return INVALID if any(value is INVALID for value in values) else values

    def fits(self, node: Node) -> bool:
        """See :class:`Kind`."""
        return isinstance(node.value, list)

    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        schema: dict[str, Any] = {
            "type": ["array", "null"] if self.short else "array",
            "items": self.kind.schema(),
        }
        if self.least:
            schema["minItems"] = self.least
        return schema


@dataclass(frozen=True)
class MapOf:
    """A mapping whose keys are names.

    Args:
        kind: of each value.
        what: in words.
        example: to copy.
        longest: characters a name may have.
        least: entries at least.
        short: may be left empty, which means no entries.
    """

    kind: Kind
    what: str
    example: str
    longest: int = 200
    least: int = 0
    short: bool = False

    @property
    def expected(self) -> str:
        """See :class:`Kind`."""
        return self.what

    def read(self, node: Node, report: Report) -> Any:
        """See :class:`Kind`."""
        if node.value is None and self.short:
            return {}
        if not isinstance(node.value, dict):
            return refuse(node, report, self)
        if len(node.value) < self.least:
            return refuse(node, report, self, "it is empty")
        values = {}
        for name, entry in node.value.items():
            if not 1 <= len(name) <= self.longest:
                report.add(entry, f"a name has 1 to {self.longest} characters; this one has {len(name)}")
            value = self.kind.read(entry.node, report)
            if isinstance(value, dict):
                value["where"] = report.where(entry)
            values[name] = value
        return INVALID if any(value is INVALID for value in values.values()) else values

    def fits(self, node: Node) -> bool:
        """See :class:`Kind`."""
        return isinstance(node.value, dict)

    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        schema: dict[str, Any] = {
            "type": ["object", "null"] if self.short else "object",
            "propertyNames": {"minLength": 1, "maxLength": self.longest},
            "additionalProperties": self.kind.schema(),
        }
        if self.least:
            schema["minProperties"] = self.least
        return schema


@dataclass(frozen=True)
class Either:
    """One of several kinds; the first that the value's shape fits gives the message."""

    kinds: tuple[Kind, ...]

    @property
    def expected(self) -> str:
        """See :class:`Kind`."""
        return ", or ".join(kind.expected for kind in self.kinds)

    @property
    def example(self) -> str:
        """See :class:`Kind`."""
        return self.kinds[0].example

    def read(self, node: Node, report: Report) -> Any:
        """See :class:`Kind`."""
        for kind in self.kinds:
            if kind.fits(node):
                return kind.read(node, report)
        return refuse(node, report, self)

    def fits(self, node: Node) -> bool:
        """See :class:`Kind`."""
        return any(kind.fits(node) for kind in self.kinds)

    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"anyOf": [kind.schema() for kind in self.kinds]}


@dataclass(frozen=True)
class Arguments:
    """Raw AMQP arguments: a mapping of names to texts, numbers, booleans, lists and mappings."""

    expected: str = "a mapping of arguments"
    example: str = "{x-queue-leader-locator: balanced}"

    def read(self, node: Node, report: Report) -> Any:
        """See :class:`Kind`."""
        if not isinstance(node.value, dict):
            return refuse(node, report, self)
        return INVALID if _has_invalid(node) else node.plain()

    def fits(self, node: Node) -> bool:
        """See :class:`Kind`."""
        return isinstance(node.value, dict)

    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"type": "object"}


def _has_invalid(node: Node) -> bool:
    if isinstance(node.value, dict):
        return any(_has_invalid(entry.node) for entry in node.value.values())
    if isinstance(node.value, list):
        return any(_has_invalid(item) for item in node.value)
    return node.value is INVALID


def _described(key: Key) -> str:
    return f"{key.doc} Default: {key.default}." if key.default else key.doc
