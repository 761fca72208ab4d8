"""Signatures in words, as ``repr`` shows them. Owns the wording."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.canvas.shapes import body, kind, members

if TYPE_CHECKING:
    from amqtask.canvas.shapes import Shape


def in_words(sig: Shape) -> str:
    """``add(2, 2)``, ``add(2, 2) | add(4)``, ``group([...])``, ``chord([...], xsum())``: as it would be written."""
    which = kind(sig)
    if which == "task":
        return f"{sig['task']}({_arguments(sig)})"
    tasks = [in_words(task) for task in members(sig)]
    if which == "chain":
        return " | ".join(tasks) if tasks else "<empty chain>"
    header = f"[{', '.join(tasks)}]"
    if which == "group":
        return f"group({header})" if tasks else "group(<empty>)"
    then = body(sig)
    return f"<chord without body: {header}>" if then is None else f"chord({header}, {in_words(then)})"


def _arguments(sig: Shape) -> str:
    named = (f"{name}={value!r}" for name, value in (sig.get("kwargs") or {}).items())
    return ", ".join([*map(repr, sig.get("args") or ()), *named])
