"""``amqtask graph``: drawings of how things are put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from amqtask.cli.command import Group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amqtask.cli.setup import Setup
    from amqtask.worker.steps.base import Step


@click.group("graph", cls=Group, short_help="Draw how a worker is put together.")
def graph() -> None:
    """Draw how a worker is put together, for Graphviz or Mermaid."""


@graph.command("steps", short_help="The parts of a worker.")
@click.option("--format", "kind", type=click.Choice(["dot", "mermaid"]), default="dot", show_default=True)
@click.pass_obj
def steps(setup: Setup, kind: str) -> None:
    """Draw the parts of a worker, those of the app included, and which of them require which.

    \b
    amqtask -A proj graph steps | dot -Tsvg > steps.svg
    """  # noqa: D301 -- click reads \b as "keep these lines"
    from amqtask.worker.steps import base  # noqa: PLC0415 -- --help needs none of it

    app = setup.load("nothing")
    if setup.app_path:
        app.load_tasks()
    classes = base.in_order(base.every_step((*app.steps["worker"], *app.steps["consumer"])))
    print(_mermaid(classes) if kind == "mermaid" else _dot(classes))


def _dot(classes: Sequence[type[Step]]) -> str:
    lines = ["digraph steps {", "  rankdir=LR;", "  node [shape=box];"]
    lines += [f'  "{one.__name__}";' for one in classes]
    lines += [f'  "{one.__name__}" -> "{other.__name__}";' for one in classes for other in one.requires]
    return "\n".join([*lines, "}"])


def _mermaid(classes: Sequence[type[Step]]) -> str:
    lines = ["graph LR", *(f"  {one.__name__}" for one in classes)]
    lines += [f"  {one.__name__} --> {other.__name__}" for one in classes for other in one.requires]
    return "\n".join(lines)


graph.add_command(steps, "bootsteps")

COMMAND = graph
