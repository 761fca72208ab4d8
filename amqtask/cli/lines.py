"""What processes print, line by line: read without waiting, and shown with the name of who said it.

Owns splitting and prefixes; knows nothing of the processes.
"""

from __future__ import annotations

import os
import selectors
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_LONGEST_LINE = 65_536

_COLORS = (36, 35, 32, 34, 33)
"""Of the prefixes: cyan, magenta, green, blue, yellow."""


class Lines:
    """The lines that a file descriptor yields; in the selector under its own object until it ends.

    Args:
        selector: calls for :meth:`read` by yielding this object as data.
        output: file descriptor; stays the caller's to close.
        tell: called with each line, without its end.
    """

    def __init__(self, selector: selectors.BaseSelector, output: int, tell: Callable[[bytes], None]) -> None:
        self._selector, self._output, self._tell = selector, output, tell
        self._pending = b""
        self._open = True
        os.set_blocking(output, False)
        selector.register(output, selectors.EVENT_READ, self)

    def read(self) -> bool:
        """Tell what there is; False when nothing came."""
        try:
            data = os.read(self._output, _LONGEST_LINE)
        except BlockingIOError:
            return False
        if not data:
            self._forget()
            return False
        *lines, self._pending = (self._pending + data).split(b"\n")
        if len(self._pending) > _LONGEST_LINE:
            lines, self._pending = [*lines, self._pending], b""
        for line in lines:
            self._tell(line)
        return True

    def finish(self) -> None:
        """The process has ended: tell the rest, and read no more. A grandchild may hold the pipe open."""
        while self._open and self.read():
            pass
        self._forget()
        if self._pending:
            self._tell(self._pending)
            self._pending = b""

    def _forget(self) -> None:
        if self._open:
            self._open = False
            self._selector.unregister(self._output)


def writer(own: str, names: Iterable[str], *, color: bool, plain: bool) -> Callable[[str, bytes], None]:
    """What prints a line on stderr behind the name of who said it; an empty name is the program itself.

    Args:
        own: the program's name.
        names: whom to expect; they set the width, and others may come.
        color: of the prefixes, one for each name.
        plain: no prefixes: JSON lines carry the worker's name already.
    """
    width = max(map(len, (own, *names)))
    prefixes: dict[str, bytes] = {}

    def prefix(name: str) -> bytes:
        text = f"{name or own:<{width}} | "
        shade = _COLORS[len(prefixes) % len(_COLORS)]
        return (f"\x1b[{shade}m{text}\x1b[0m" if color else text).encode()

    for name in ("", *names):
        prefixes[name] = prefix(name)

    def write(name: str, line: bytes) -> None:
        if name not in prefixes:
            prefixes[name] = prefix(name)
        sys.stderr.buffer.write((b"" if plain else prefixes[name]) + line + b"\n")
        sys.stderr.flush()

    return write
