"""What commands print: tables for people, one JSON document for programs, and questions.

Owns the look. Tables are rich's on a terminal when rich is installed, else aligned plain text.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, Literal

import click

from amqtask.cli.exits import Declined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amqtask.cli.setup import Setup

ABSENT = "-"
"""Shown where there is nothing to show."""

_WIDEST = 60
"""Characters of a cell that others are aligned with; a longer one stands out alone."""


def print_json(document: Any) -> None:
    """Print one JSON document, and nothing else."""
    print(json.dumps(document, indent=2, ensure_ascii=False, default=str))


def print_table(
    setup: Setup, columns: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[str] = ()
) -> None:
    """Print rows under a header.

    Args:
        setup: says whether colours are wanted.
        columns: headings.
        rows: one cell per column; None shows as ``-``.
        right: headings of the columns with numbers.
    """
    cells = [[ABSENT if cell is None else str(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty() or not _rich_table(setup, columns, cells, right):
        _plain_table(columns, cells, right)


def _rich_table(setup: Setup, columns: Sequence[str], cells: list[list[str]], right: Sequence[str]) -> bool:
    try:
        from rich import box  # noqa: PLC0415 -- optional
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415
    except ImportError:
        return False
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        # the first column holds what people copy: folded, an id could not be used
        justify: Literal["left", "right"] = "right" if column in right else "left"
        table.add_column(column, justify=justify, overflow="fold", no_wrap=column == columns[0])
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    Console(no_color=setup.no_color or bool(os.environ.get("NO_COLOR")), highlight=False).print(table)
    return True


def _plain_table(columns: Sequence[str], cells: list[list[str]], right: Sequence[str]) -> None:
    lines = [
        [column.upper() for column in columns],
        *([" ".join(cell.split()) for cell in row] for row in cells),
    ]
    widths = [max(len(line[at]) for line in lines if len(line[at]) <= _WIDEST) for at in range(len(columns))]
    for line in lines:
        shown = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ]
        print("  ".join(shown).rstrip())


def say(setup: Setup, text: str) -> None:
    """Print a remark that is not what was asked for: on stderr, and not with ``--quiet``."""
    if not setup.quiet:
        print(text, file=sys.stderr)


def confirm(question: str, force: bool) -> None:
    """Ask before something that can't be undone.

    Raises:
        click.UsageError: nobody can answer, and ``--force`` was not given.
        Declined: the answer was no.
    """
    if force:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Nobody can answer here: use --force.", click.get_current_context())
    if not click.confirm(question, err=True):
        raise Declined("Nothing was done.")


def count(number: int, noun: str) -> str:
    """``1 message``, ``3 messages``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def first_line(text: str, length: int = 80) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 3] + "..."
