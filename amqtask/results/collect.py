"""Walks through the tree of what a task has sent. Owns their order and the graph that they draw."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, TextIO

from amqtask import clock
from amqtask.errors import AmqtaskError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amqtask.results.node import ResultBase


class IncompleteStream(AmqtaskError):
    """A task of the tree has not ended, so that what it will send is not known."""


def iterdeps(root: ResultBase, intermediate: bool = False) -> Iterator[tuple[ResultBase | None, ResultBase]]:
    """A result and everything it has sent, parents first.

    Args:
        root: where to begin.
        intermediate: go on where a task has not ended, leaving out what it will send.

    Yields:
        What has sent it (None for the root), and its handle.

    Raises:
        IncompleteStream: a task has not ended, and ``intermediate`` is false.
    """
    pending: deque[tuple[ResultBase | None, ResultBase]] = deque([(None, root)])
    while pending:
        parent, node = pending.popleft()
        yield parent, node
        if node.ready():
            pending.extend((node, child) for child in node.children)
        elif not intermediate:
            raise IncompleteStream(f"task {node.id} has not ended")


def collect(
    root: ResultBase, intermediate: bool = False, timeout: float | None = None, propagate: bool = True
) -> Iterator[tuple[ResultBase, Any]]:
    """A result and everything it has sent, each with what it returned, waiting for each.

    Args:
        root: where to begin.
        intermediate: see :func:`iterdeps`.
        timeout: seconds for all of them.
        propagate: raise the exception of a task that failed; else it is yielded.

    Raises:
        ResultTimeout: one has not ended in time.
    """
    deadline = None if timeout is None else clock.monotonic() + timeout
    for _, node in iterdeps(root, intermediate):
        left = None if deadline is None else max(deadline - clock.monotonic(), 0.0)
        yield node, node.get(timeout=left, propagate=propagate)


def get_leaf(root: ResultBase) -> Any:
    """What the last one of :func:`iterdeps` returned."""
    value = None
    for _, node in iterdeps(root):
        value = node.get()
    return value


class DependencyGraph(dict["ResultBase", list["ResultBase"]]):
    """Each result, and what it has sent; in the order of :func:`iterdeps`."""

    def edges(self) -> Iterator[tuple[ResultBase, ResultBase]]:
        """Pairs of a result and one that it has sent."""
        return ((node, child) for node, children in self.items() for child in children)

    def to_dot(self, stream: TextIO) -> None:
        """Write it in Graphviz's language."""
        stream.write("digraph results {\n")
        stream.writelines(f'    "{node.id}" [label="{_label(node)}"];\n' for node in self)
        stream.writelines(f'    "{node.id}" -> "{child.id}";\n' for node, child in self.edges())
        stream.write("}\n")

    def to_mermaid(self) -> str:
        """As a Mermaid flowchart, which GitHub and many editors draw."""
        names = {node: f"t{number}" for number, node in enumerate(self)}
        nodes = [f'    {name}["{_quoted(repr(node))}"]' for node, name in names.items()]
        arrows = [f"    {names[node]} --> {names[child]}" for node, child in self.edges()]
        return "\n".join(["flowchart LR", *nodes, *arrows]) + "\n"


def graph_of(root: ResultBase, intermediate: bool = True) -> DependencyGraph:
    """The graph below a result, as far as it is known."""
    graph = DependencyGraph()
    for parent, node in iterdeps(root, intermediate):
        graph.setdefault(node, [])
        if parent is not None:
            graph[parent].append(node)
    return graph


def _label(node: ResultBase) -> str:
    return repr(node).strip("<>").replace("\\", "\\\\").replace('"', '\\"')


def _quoted(text: str) -> str:
    return text.strip("<>").replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
