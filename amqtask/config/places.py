"""Where in a program a setting was given: file and line. Owns finding them; only reports need them."""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NamedTuple


class Place(NamedTuple):
    """A line of a file; line 0: somewhere in it."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        path = Path(self.file)
        shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        return f"{shown}:{self.line}" if self.line else str(shown)


def calling() -> Place | None:
    """The line of the program that has called amqtask; None when there is none."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 -- as warnings finds its line
    while frame is not None and _is_own(str(frame.f_globals.get("__name__"))):
        frame = frame.f_back
    return None if frame is None else Place(frame.f_code.co_filename, frame.f_lineno)


def _is_own(module: str) -> bool:
    return module == "amqtask" or module.startswith("amqtask.")


def assigned(source: Any, name: str) -> Place | None:
    """The line of a module or class where a name gets its value; None when it can't be told."""
    cls = source if isinstance(source, type | ModuleType) else type(source)
    try:
        file = inspect.getsourcefile(cls)
    except TypeError:
        return None
    if file is None:
        return None
    owner = "" if isinstance(cls, ModuleType) else cls.__qualname__.rpartition(".")[2]
    return Place(file, _lines(file).get((owner, name), 0))


@cache
def _lines(file: str) -> dict[tuple[str, str], int]:
    """(class, or nothing; name) -> the last line that assigns it."""
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return {}
    found: dict[tuple[str, str], int] = {}
    classes = [(item.name, item.body) for item in ast.walk(tree) if isinstance(item, ast.ClassDef)]
    for owner, body in [("", tree.body), *classes]:
        for inner in body:
            for part in ast.walk(inner) if not isinstance(inner, ast.ClassDef) else ():
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                    found[owner, part.id] = part.lineno
    return found
