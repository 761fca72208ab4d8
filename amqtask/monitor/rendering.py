"""Templates, and how values look in them: times, durations, numbers, texts of strangers. Owns the escaping.

The one module that imports jinja2. Whatever a template prints is escaped, and characters that are not to be seen
(controls, marks that turn the direction of writing, half characters) stand as their number: nobody can hide a word in
a task's name, and every text can be sent as UTF-8.
"""

from __future__ import annotations

import json
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from amqtask import clock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amqtask.monitor.views import TaskRow, WorkerTask

HERE = Path(__file__).parent

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_TONES = {
    "SUCCESS": "good",
    "FAILURE": "bad",
    "DEAD": "bad",
    "RETRY": "warn",
    "REJECTED": "warn",
    "STARTED": "busy",
}
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SHORT = 10
_DASH = "\N{EN DASH}"
"""For what is not known."""

_EMPTY = ("()", "[]", "{}")
_BREAK = re.compile(r"(?<=[._/@])(?=\w)")


def new_environment() -> Environment:
    """An environment with the filters of the pages."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=_shown,
    )
    filters = (when, ago, lasting, number, cut, tone, cell, label, call, typed, pretty)
    made.filters.update({one.__name__: one for one in filters})
    made.globals.update(quoted=lambda text: quote(str(text).encode("utf-8", "replace"), safe="@"), query=query)
    return made


def visible(text: str) -> str:
    """The text with what can't be seen written as an escape."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def cut(text: Any, length: int) -> str:
    """At most so many characters of it; that something is missing can be seen."""
    whole = str(text)
    return whole if len(whole) <= length else f"{whole[:length]}…"


def cell(text: Any, length: int = 60) -> Markup:
    """A text of a stranger in a table: on one line, cut, in its own direction; the title says more of it."""
    whole = " ".join(str(text)[: _SHORT * length].split())
    short = cut(whole, length)
    title = Markup(' title="{}"').format(visible(cut(whole, 400))) if short != whole else ""
    return Markup("<bdi{}>{}</bdi>").format(title, visible(short))


def label(text: Any, length: int = 60) -> Markup:
    """A name in a table, which may be broken where its parts meet."""
    short = visible(cut(text, length))
    return Markup("<bdi>{}</bdi>").format(Markup("<wbr>").join(_BREAK.split(short)))


def call(row: TaskRow | WorkerTask) -> str:
    """The arguments of a task as they are written in a call, without the empty ones."""
    return " ".join(part for part in (row.args, row.kwargs) if part and part not in _EMPTY)


def typed(word: str) -> str:
    """A word of a command as it is typed in a shell."""
    return shlex.quote(word)


def pretty(value: Any) -> str:
    """A structure of plain values over several lines."""
    return json.dumps(value, indent=2, default=str, ensure_ascii=False)


def when(moment: float | str | None, *, date: bool = False) -> Markup:
    """A moment, as an element that the browser puts into its own zone.

    Args:
        moment: seconds since the epoch, or ISO 8601; None is a dash.
        date: tell the date even if it is today.
    """
    found = _moment(moment)
    if found is None:
        return escape(_DASH if moment is None else visible(cut(moment, 40)))
    iso = found.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    form = "%H:%M:%S" if not date and found.date() == clock.utcnow().date() else "%Y-%m-%d %H:%M:%S"
    return Markup('<time datetime="{0}" title="{0}"{1}>{2} UTC</time>').format(
        iso, Markup(' data-date="1"') if date else "", found.strftime(form)
    )


def ago(moment: float | str | None) -> Markup:
    """How long it is past, or to come, in one unit; the title has the moment."""
    found = _moment(moment)
    if found is None:
        return when(moment)
    past = clock.wall() - found.timestamp()
    far = abs(past)
    words = "now" if far < 1 else " ".join(lasting(far).split()[:2]) if far >= _MINUTE else f"{far:.0f} s"
    if far >= 1:
        words = f"{words} ago" if past > 0 else f"in {words}"
    iso = found.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Markup('<time datetime="{0}" title="{0}" data-ago="1">{1}</time>').format(iso, words)


def lasting(seconds: float | None) -> str:
    """A time in two units at most."""
    if seconds is None:
        return _DASH
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s" if seconds < _SHORT else f"{seconds:.0f} s"
    for unit, name, below, part in ((_DAY, "d", "h", _HOUR), (_HOUR, "h", "min", _MINUTE), (_MINUTE, "min", "s", 1)):
        if seconds >= unit:
            whole, rest = divmod(int(seconds), unit)
            return f"{whole} {name} {rest // part} {below}" if rest // part else f"{whole} {name}"
    raise AssertionError(seconds)


def number(value: float | None) -> str:
    """A number with its thousands apart; a dash for what is not known."""
    return _DASH if value is None else f"{value:,}"


def tone(state: str) -> str:
    """Class of a state: good, bad, warn, busy, or none."""
    return _TONES.get(state, "")


def query(given: Mapping[str, Any], **changes: Any) -> str:
    """The query of a link: what is given, changed; without what is empty."""
    left = {key: str(value) for key, value in {**given, **changes}.items() if value not in (None, "")}
    return f"?{urlencode(left, errors='replace')}" if left else "?"


def _moment(given: float | str | None) -> datetime | None:
    try:
        if isinstance(given, str):
            read = datetime.fromisoformat(given)
            return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
        return None if given is None else datetime.fromtimestamp(given, UTC)
    except (ValueError, OverflowError, OSError):
        return None  # what somebody made up


def _shown(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
