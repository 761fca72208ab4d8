"""Pieces of work as pictures: which task waits for which. Owns the graph and its two notations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.canvas.normal import normal
from amqtask.canvas.shapes import Shape, body, kind, listed, members, options
from amqtask.canvas.words import in_words

if TYPE_CHECKING:
    from collections.abc import Sequence


class Graph:
    """Tasks, and arrows from each to those that get its result.

    Attributes:
        labels: of the tasks; their numbers are the positions in this list.
        arrows: (number, number of a task that waits for it).
    """

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.arrows: list[tuple[int, int]] = []

    def add(self, label: str, sources: Sequence[int]) -> int:
        """Add a task that waits for others; its number."""
        self.labels.append(label)
        number = len(self.labels) - 1
        self.arrows += [(source, number) for source in sources]
        return number

    def to_mermaid(self) -> str:
        """As a Mermaid flowchart, which GitHub and many editors draw."""
        nodes = [f'    t{number}["{_quoted(label)}"]' for number, label in enumerate(self.labels)]
        arrows = [f"    t{source} --> t{target}" for source, target in self.arrows]
        return "\n".join(["flowchart LR", *nodes, *arrows]) + "\n"

    def to_dot(self) -> str:
        """In the language of Graphviz."""
        nodes = [f'    t{number} [label="{_escaped(label)}"];' for number, label in enumerate(self.labels)]
        arrows = [f"    t{source} -> t{target};" for source, target in self.arrows]
        return "\n".join(["digraph canvas {", "    rankdir=LR;", *nodes, *arrows, "}"]) + "\n"


def graph(sig: Shape) -> Graph:
    """Of a signature: of what will run, that is; callbacks included.

    Raises:
        ConfigError: a chord without a body.
    """
    new = Graph()
    _draw(new, normal(sig), [])
    return new


def _draw(new: Graph, sig: Shape, sources: list[int]) -> list[int]:
    """Add a signature; the numbers of the tasks that end it."""
    which = kind(sig)
    if which == "task":
        number = new.add(in_words({**sig, "options": {}}), sources)
        for link in listed(options(sig).get("link")):
            _draw(new, normal(link), [number])
        return [number]
    if which == "chain":
        for step in members(sig):
            sources = _draw(new, step, sources)
        return sources
    ends = [end for member in members(sig) for end in _draw(new, member, sources)]
    then = body(sig) if which == "chord" else None
    return ends if then is None else _draw(new, then, ends or sources)


def _quoted(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
