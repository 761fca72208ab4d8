"""Old names of settings in a program, replaced by those of today. Owns which words are names of settings."""

from __future__ import annotations

import ast
import io
import tokenize
from typing import TYPE_CHECKING, NamedTuple

from amqtask.config.celery_names import OLD_NAMES, PREFIXES, name_of_today
from amqtask.config.celery_values import RENAMED

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONF = "conf"
"""What the settings of an app are called: ``app.conf.CELERY_TIMEZONE``."""


class Change(NamedTuple):
    """One replaced name.

    Attributes:
        line: number of the line.
        old: as it stood there.
        new: as it stands there now.
    """

    line: int
    old: str
    new: str


def rewrite(text: str, namespace: str | None = None) -> tuple[str, list[Change]]:
    """Replace old names of settings: variables, keyword arguments, keys of mappings, attributes of ``conf``.

    Args:
        text: of a Python file.
        namespace: names stay in capitals and get this before them, ``CELERY`` for Django's settings.

    Returns:
        The new text, and what was replaced.

    Raises:
        SyntaxError: it is no Python.
    """
    ast.parse(text)
    lines = text.split("\n")  # as Python counts them: a form feed ends none
    changes = list(_changes(text, namespace))
    for change, column, length in reversed(changes):
        line = lines[change.line - 1]
        lines[change.line - 1] = line[:column] + change.new + line[column + length :]
    return "\n".join(lines), [change for change, _, _ in changes]


def _changes(text: str, namespace: str | None) -> Iterator[tuple[Change, int, int]]:
    """Each change with its column and the length of what it replaces."""
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type not in skipped]
    for place, token in enumerate(tokens):
        before = [one.string for one in tokens[max(0, place - 2) : place]]
        after = tokens[place + 1].string if place + 1 < len(tokens) else ""
        quotes = 0
        if token.type == tokenize.NAME and (before[-1:] != ["."] or before[:1] == [_CONF]):
            name = token.string
        elif token.type == tokenize.STRING and (after == ":" or (before == [_CONF, "["])):
            name, quotes = _inside(token.string), 1
        else:
            continue
        new = _today(name, namespace)
        if new is not None:
            yield Change(token.start[0], name, new), token.start[1] + quotes, len(name)


def _inside(literal: str) -> str:
    """What stands between plain quotes; nothing for texts of other kinds."""
    return literal[1:-1] if literal[:1] in "'\"" and literal[:3] not in ("'''", '"""') else ""


def _today(name: str, namespace: str | None) -> str | None:
    """What a name is to be replaced by; None: nothing."""
    if not name.isupper() or not (name in OLD_NAMES or name.startswith(PREFIXES)):
        return None
    start = f"{namespace.upper()}_" if namespace else ""
    if namespace and name.startswith(start) and name not in OLD_NAMES and name_of_today(name, namespace):
        return None  # it is as it should be
    today = name_of_today(name)
    if today is None:
        return None
    today = RENAMED.get(today, today)
    return f"{start}{today.upper()}" if namespace else today
