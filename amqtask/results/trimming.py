"""An exception as short texts: its type, its message and its traceback. Owns trimming; survives hostile exceptions.

User code may raise anything: exceptions whose ``str()`` raises or returns megabytes, chains that bite their tail, deep
recursions. Nothing in here raises, and nothing it returns is longer than its limit or fails to be encoded.
"""

from __future__ import annotations

import contextlib
import linecache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import CodeType, TracebackType

MESSAGE_LIMIT = 2048
TRACEBACK_LIMIT = 16_384
"""Bytes of UTF-8."""

_FRAMES = 30
_CAUSES = 5
_CUT = " [...]"
_MACHINERY = (
    "/amqtask/worker/",
    "/amqtask/execution/",
    "/amqtask/tasks/",
    "/asyncio/",
    "/concurrent/futures/",
    "/contextlib.py",
)


def describe(error: BaseException) -> tuple[str, str, str]:
    """Type path, message and traceback of an exception."""
    kind, text, trace = "Exception", "an exception that can't be described", ""
    with contextlib.suppress(BaseException):  # out of memory or stack, again; what is known by then is told
        kind = type_path(error)
        text = message(error)
        trace = traceback(error)
    return kind, text, trace


def type_path(error: BaseException) -> str:
    """``module.Name`` of the real type; without the module for builtins."""
    kind = type(error)
    module, name = type.__getattribute__(kind, "__module__"), type.__getattribute__(kind, "__qualname__")
    path = name if module == "builtins" else f"{module}.{name}"
    return clip(path, 256)


def message(error: BaseException) -> str:
    """``str()`` of the exception, trimmed."""
    try:
        text = str.__str__(str(error))
    except BaseException as problem:
        text = f"<str() of the exception raised {type(problem).__name__}>"
    return clip(text, MESSAGE_LIMIT)


def traceback(error: BaseException) -> str:
    """The frames of user code, last ones kept, and a line for each cause."""
    lines = [*_causes(error), *_frames(error.__traceback__), f"{type_path(error)}: {message(error)}"]
    if isinstance(error, BaseExceptionGroup):
        lines += [f"  | {type_path(inner)}: {message(inner)}" for inner in error.exceptions[:_FRAMES]]
    text = "\n".join(lines)
    # the end says most: cut in front
    return text if len(text) <= TRACEBACK_LIMIT else clip(text[: len(text) // 4], 2048) + _tail(text)


def clip(text: str, limit: int) -> str:
    """At most ``limit`` bytes of UTF-8; lone surrogates become escapes."""
    data = text[: limit + 1].encode("utf-8", "backslashreplace")
    if len(data) <= limit:
        return data.decode()
    return data[: limit - len(_CUT)].decode("utf-8", "ignore") + _CUT


def causes(error: BaseException) -> list[BaseException]:
    """What led to it, the nearest first: explicit causes, else contexts that are not suppressed; a few of them."""
    found: list[BaseException] = []
    seen = {id(error)}
    cause = _cause(error)
    while cause is not None and id(cause) not in seen and len(found) < _CAUSES:
        seen.add(id(cause))
        found.append(cause)
        cause = _cause(cause)
    return found


def _tail(text: str) -> str:
    room = TRACEBACK_LIMIT - 2048 - 1
    return "\n" + text.encode("utf-8", "backslashreplace")[-room:].decode("utf-8", "ignore")


def _causes(error: BaseException) -> list[str]:
    return [
        f"Caused by {type_path(cause)}: {clip(message(cause), 512)}{_place(cause.__traceback__)}"
        for cause in causes(error)[::-1]
    ]


def _cause(error: BaseException) -> BaseException | None:
    if error.__cause__ is not None:
        return error.__cause__
    return None if error.__suppress_context__ else error.__context__


def _place(trace: TracebackType | None) -> str:
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f" ({trace.tb_frame.f_code.co_filename}:{_line(trace)})"


def _line(trace: TracebackType) -> int:
    """Where in the source; where the interpreter knows no line (an interruption between two of them), the first."""
    known: int | None = trace.tb_lineno
    return trace.tb_frame.f_code.co_firstlineno if known is None else known


def _frames(trace: TracebackType | None) -> list[str]:
    places: list[tuple[CodeType, int]] = []
    while trace is not None:
        places.append((trace.tb_frame.f_code, _line(trace)))
        trace = trace.tb_next
    start = 0
    while start < len(places) and _is_machinery(places[start][0]):
        start += 1
    places = places[start:]
    lines = ["Traceback (most recent call last):"] if places else []
    if len(places) > _FRAMES:
        lines.append(f"  ... {len(places) - _FRAMES} frames left out ...")
    for code, number in places[-_FRAMES:]:
        lines.append(f'  File "{code.co_filename}", line {number}, in {code.co_qualname}')
        if source := linecache.getline(code.co_filename, number).strip():
            lines.append(f"    {source[:200]}")
    return lines


def _is_machinery(code: CodeType) -> bool:
    return any(part in code.co_filename for part in _MACHINERY)
