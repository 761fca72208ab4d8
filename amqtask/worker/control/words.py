"""Arguments of commands as they come: command lines send texts, programs send values. Owns reading them."""

from __future__ import annotations

import signal as signals
from typing import TYPE_CHECKING, Any

from amqtask.worker.control.dispatch import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

_FALSE = ("", "0", "false", "no", "off", "none", "n")


def flag(word: str) -> bool:
    """A yes or no on a command line."""
    return word.lower() not in _FALSE


def names(value: Any) -> list[str]:
    """One name, or a list of them; Celery also sends mappings of which only the keys say something.

    Raises:
        Refused: it is none of these.
    """
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, list | tuple | dict) and all(isinstance(one, str) for one in value):
        return list(value)
    raise Refused(f"not a name, nor a list of names: {value!r:.200}")


def number(value: Any, what: str, *, least: int = 0) -> int:
    """A whole number.

    Raises:
        Refused: it is none, or too small.
    """
    try:
        found = int(value)
    except (TypeError, ValueError, OverflowError):
        raise Refused(f"{what}: {value!r:.100} is not a number") from None
    if found < least:
        raise Refused(f"{what}: {found} is less than {least}")
    return found


def signal_name(value: Any) -> str:
    """``SIGKILL`` for ``KILL``, ``9`` and ``SIGKILL``; SIGTERM for nothing.

    Raises:
        Refused: there is no such signal.
    """
    if value is None or value == "":
        return "SIGTERM"
    text = str(value).upper()
    try:
        found = signals.Signals(int(text)) if text.isdigit() else signals.Signals["SIG" + text.removeprefix("SIG")]
    except (KeyError, ValueError):
        raise Refused(f"unknown signal {value!r:.100}") from None
    return found.name


def stamps(value: Any) -> Mapping[str, Any]:
    """Stamps: a mapping of name to value or values, or ``["name=value"]``.

    Raises:
        Refused: it is neither.
    """
    if isinstance(value, dict):
        return value
    found: dict[str, list[str]] = {}
    for text in names(value):
        name, separator, one = text.partition("=")
        if not separator:
            raise Refused(f"not name=value: {text!r:.100}")
        found.setdefault(name, []).append(one)
    return found
