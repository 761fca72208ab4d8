"""YAML text to a tree of values that know their place. Owns the YAML dialect of routing.yaml.

Stricter than YAML 1.1, so that nothing means something else than it looks like: duplicate keys, ``no`` and
``on`` as booleans, ``1:30`` as 90, ``010`` as 8 and tags are refused. Anchors, aliases and merge keys
(``<<``) are allowed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from amqtask.errors import DocumentError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

# libyaml is an optional part of PyYAML; both parsers give the same nodes
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_TAG = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})|0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(r"[-+]?[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]{1,2})?")
_BOOLEANS = {"true": True, "false": False}
_MAX_DEPTH = 40
_MAX_NODES = 100_000


class _Invalid:
    """The value of a node that is already reported; whoever meets it stays silent."""

    def __repr__(self) -> str:
        return "INVALID"


INVALID: Any = _Invalid()


@dataclass(frozen=True, slots=True)
class Node:
    """One value of the document.

    Attributes:
        value: None, bool, int, float, str, a list of nodes, a dict of key -> :class:`Entry`, or ``INVALID``.
        line, column: of its first character, from 1.
        path: for messages, for example ``queues.emails.retry``; empty for the document itself.
    """

    value: Any
    line: int
    column: int
    path: str

    def plain(self) -> Any:
        """The value as ordinary lists, dicts and scalars."""
        if isinstance(self.value, dict):
            return {key: entry.node.plain() for key, entry in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value


@dataclass(frozen=True, slots=True)
class Entry:
    """A key's value, and the place of the key."""

    node: Node
    line: int
    column: int


class Report:
    """Collects problems of one document."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._found: list[tuple[int, int, str]] = []

    def add(self, place: Node | Entry, text: str) -> None:
        """Note a problem."""
        self.add_at(place.line, place.column, text)

    def add_at(self, line: int, column: int, text: str) -> None:
        """Note a problem by line and column, from 1."""
        finding = (line, column, text)
        if finding not in self._found:
            self._found.append(finding)

    def where(self, place: Node | Entry) -> str:
        """``routing.yaml:18:5``."""
        return f"{self.name}:{place.line}:{place.column}"

    @property
    def count(self) -> int:
        """Problems so far."""
        return len(self._found)

    def raise_problems(self) -> None:
        """Raise what was found, in the order of the file; return when there is nothing.

        Raises:
            DocumentError: with all of it.
        """
        if self._found:
            raise DocumentError(
                [Problem(f"{self.name}:{line}:{column}", text) for line, column, text in sorted(self._found)]
            )


def parse(text: str | bytes, report: Report) -> Node:
    """The document's tree. Readable but doubtful values are noted in the report, and ``INVALID`` in the tree.

    Raises:
        DocumentError: the text is not YAML at all: one problem, at the place where reading stopped.
    """
    readable = _decode(text, report)
    try:
        _check_depth(readable, report)
        root = yaml.compose(readable, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        _add_broken(error, readable, report)
    except yaml.YAMLError as error:
        report.add_at(1, 1, f"this is not YAML: {' '.join(str(error).split())}")
    else:
        return _Reader(report).read(root, "", ()) if root is not None else Node({}, 1, 1, "")
    report.raise_problems()
    raise AssertionError("unreachable")


def _decode(text: str | bytes, report: Report) -> str:
    try:
        if isinstance(text, bytes):
            return text.decode("utf-8-sig")
        text.encode()
    except UnicodeError as error:
        start = getattr(error, "start", 0)
        before = text[:start]
        head = before.decode() if isinstance(before, bytes) else before
        report.add_at(head.count("\n") + 1, len(head) - head.rfind("\n"), "this is not UTF-8 text")
        report.raise_problems()
    return str(text)


def _check_depth(text: str, report: Report) -> None:
    """Refuse deep nesting before composing: libyaml's composer recurses on the C stack and would crash."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                report.add_at(*_place(event), "nested too deeply")
                report.raise_problems()
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _add_broken(error: yaml.MarkedYAMLError, text: str, report: Report) -> None:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    lines = text.split("\n")
    if line >= len(lines):  # libyaml puts what is missing at the end in a line of its own
        line, column = len(lines) - 1, len(lines[-1])
    problem = " ".join((error.problem or error.context or "unreadable").split())
    context = f", {' '.join(error.context.split())}" if error.context and error.problem else ""
    hint = "; indent with spaces, not tabs" if lines[line][column : column + 1] == "\t" else ""
    report.add_at(line + 1, column + 1, f"this is not YAML: {problem}{context}{hint}")


class _Reader:
    """Turns yaml's nodes into ours, once each; bounds what aliases can blow up to."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._count = 0

    def read(self, source: yaml.Node, path: str, above: tuple[int, ...]) -> Node:
        line, column = _place(source)
        self._count += 1
        value: Any = INVALID
        if id(source) in above:
            self._report.add_at(line, column, "this anchor contains itself")
        elif len(above) > _MAX_DEPTH or self._count > _MAX_NODES:
            self._report.add_at(line, column, "nested too deeply, or aliases that expand to too much")
        elif isinstance(source, yaml.MappingNode):
            value = self._mapping(source, path, (*above, id(source)))
        elif isinstance(source, yaml.SequenceNode):
            value = self._sequence(source, path, (*above, id(source)))
        elif isinstance(source, yaml.ScalarNode):
            value = self._scalar(source)
        return Node(value, line, column, path)

    def _sequence(self, source: yaml.SequenceNode, path: str, above: tuple[int, ...]) -> Any:
        if not self._tag_is(source, "seq"):
            return INVALID
        return [self.read(item, f"{path}[{index}]", above) for index, item in enumerate(source.value)]

    def _mapping(self, source: yaml.MappingNode, path: str, above: tuple[int, ...]) -> Any:
        if not self._tag_is(source, "map"):
            return INVALID
        found: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        for key_source, value_source in source.value:
            line, column = _place(key_source)
            if key_source.tag == _TAG + "merge":
                for key, entry in self._merge(value_source, path, above):
                    merged.setdefault(key, entry)
                continue
            key = self._key(key_source)
            if key is INVALID:
                continue
            node = self.read(value_source, f"{path}.{key}" if path else key, above)
            if key in found:
                first = found[key].line
                self._report.add_at(line, column, f"duplicate key {key!r}, first used in line {first}")
            else:
                found[key] = Entry(node, line, column)
        return {**merged, **found}

    def _merge(self, source: yaml.Node, path: str, above: tuple[int, ...]) -> Iterator[tuple[str, Entry]]:
        sources = source.value if isinstance(source, yaml.SequenceNode) else [source]
        for item in sources:
            node = self.read(item, path, above)
            if isinstance(node.value, dict):
                yield from node.value.items()
            elif node.value is not INVALID:
                self._report.add(node, "<< merges mappings; this is none")

    def _key(self, source: yaml.Node) -> Any:
        line, column = _place(source)
        if not isinstance(source, yaml.ScalarNode):
            self._report.add_at(line, column, "a key must be a text")
            return INVALID
        value = self._scalar(source)
        if value is not INVALID and not isinstance(value, str):
            self._report.add_at(line, column, f'the key {source.value!r} is not text; write "{source.value}" in quotes')
            return INVALID
        return value

    def _scalar(self, source: yaml.ScalarNode) -> Any:
        text = source.value
        tag = source.tag.removeprefix(_TAG)
        if tag in ("str", "timestamp", "value", "merge"):
            return text
        if not source.style:  # plain: None of the Python parser, "" of libyaml
            value = _typed(tag, text)
            if value is not INVALID:
                return value
        self._report.add_at(*_place(source), _doubtful("" if source.style else tag, text))
        return INVALID

    def _tag_is(self, source: yaml.Node, kind: str) -> bool:
        if source.tag == _TAG + kind:
            return True
        self._report.add_at(*_place(source), f"tags like {source.tag!r} are not used here; leave it out")
        return False


def _typed(tag: str, text: str) -> Any:
    if tag == "null":
        return None
    if tag == "bool":
        return _BOOLEANS.get(text.lower(), INVALID)
    if tag == "int" and _INTEGER.fullmatch(text):
        return int(text, 0)
    if tag == "float" and _FLOAT.fullmatch(text):
        return float(text)
    return INVALID


def _doubtful(tag: str, text: str) -> str:
    if tag == "bool":
        meant = "true" if text.lower() in ("yes", "on", "y") else "false"
        return (
            f'{text!r} is a boolean for some YAML readers and a text for others; write {meant}, or "{text}" in quotes'
        )
    if tag in ("int", "float"):
        reason = (
            "minutes and seconds in one number" if ":" in text else "not a plain decimal number, or too long for one"
        )
        return f'{text!r} is {reason}; write a plain number, a duration like 90s, or "{text}" in quotes'
    return "tags like !!int are not used here; leave it out"


def _place(source: yaml.Node | yaml.Event) -> tuple[int, int]:
    mark: Any = source.start_mark
    return mark.line + 1, mark.column + 1
