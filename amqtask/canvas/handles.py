"""The handles of planned work. Owns how they are made: in this one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.results.future import AsyncResult
from amqtask.results.group import GroupResult

if TYPE_CHECKING:
    from amqtask.canvas.nodes import Node
    from amqtask.results.source import Results

Handle = Any
"""An ``AsyncResult`` or a ``GroupResult``, of whatever the work returns."""


def handle(tree: Node, results: Results | None) -> Handle:
    """The handle of what was planned; its ``parent`` leads to what goes before.

    Args:
        tree: what was planned.
        results: where results are asked for; None: where those of the app made last are.
    """
    made: Handle = None
    for node in reversed(list(tree.lineage())):  # from the first step on: a chain may be longer than any stack
        if node.members is None:
            made = AsyncResult[Any](node.id, node.name, results=results, parent=made)
        else:
            members = [handle(member, results) for member in node.members]
            made = GroupResult[Any](node.id, members, made, access=results)
    return made
