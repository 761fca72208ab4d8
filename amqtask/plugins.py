"""Registries of interchangeable parts: one module per part in a folder, plus entry points of other packages.

Owns look-up and its error message. Nothing is imported before it is asked for.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import EntryPoint

T = TypeVar("T")


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """``"; did you mean 'prefork'?"``, or an empty text when nothing is near."""
    known, name = list(known), str(name)  # it may be anything, from a message
    words = sorted(name.split("_"))
    swapped = [one for one in known if sorted(one.split("_")) == words]  # time_soft_limit
    import difflib  # noqa: PLC0415 -- for what is wrong, which is rare

    near = swapped or difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


class Registry(Generic[T]):
    """Parts of one kind, by name. Thread-safe: look-ups only add equal values.

    Args:
        kind: for error messages, for example ``"pool"``.
        package: the folder to scan; each module of it that has ``attribute`` is a part of the module's name.
        attribute: the name of the part inside its module.
        group: entry point group for parts from other packages.
    """

    def __init__(self, kind: str, package: str, attribute: str, group: str) -> None:
        self.kind, self._package, self._attribute, self._group = kind, package, attribute, group
        self._loaded: dict[str, T] = {}

    def names(self) -> list[str]:
        """Every name that :meth:`get` knows, sorted; imports nothing but the folder's package."""
        return sorted({*self._own(), *(entry.name for entry in _entry_points(self._group))})

    def __contains__(self, name: str) -> bool:
        """Whether :meth:`get` knows this name; quicker than asking for all of them."""
        return name in self._loaded or name in self._own() or name in self.names()

    def _own(self) -> list[str]:
        folder = importlib.import_module(self._package)
        found = (module.name for module in pkgutil.iter_modules(folder.__path__))
        return [name for name in found if name != "base" and not name.startswith("_")]

    def get(self, name: str) -> T:
        """The part of this name.

        Raises:
            ConfigError: there is none, naming the nearest; or that of a package can't be loaded.
        """
        part = self._loaded.get(name)
        if part is None:
            part = self._loaded[name] = self._load(name)
        return part

    def _load(self, name: str) -> T:
        if name in self._own():  # first, for reading the entry points of every package takes milliseconds
            return cast("T", getattr(importlib.import_module(f"{self._package}.{name}"), self._attribute))
        for entry in _entry_points(self._group):
            if entry.name == name:
                try:
                    return cast("T", entry.load())
                except (ImportError, AttributeError) as error:
                    raise ConfigError(
                        f"{self.kind} {name!r} is {entry.value}, which can't be loaded: {error}"
                    ) from error
        known = self.names()
        raise ConfigError(f"unknown {self.kind} {name!r}; there are {', '.join(known)}{did_you_mean(name, known)}")


def _entry_points(group: str) -> Iterable[EntryPoint]:
    if not _offered(group):
        return ()
    from importlib.metadata import entry_points  # noqa: PLC0415 -- 30 ms and 3 MB that most programs do without

    return entry_points(group=group)


def _offered(group: str) -> bool:
    """Whether any installed package may have parts of this group.

    False is certain. True where only ``importlib.metadata`` can tell: packages in archives, or found by an importer
    of their own.
    """
    if any(hasattr(finder, "find_distributions") and finder is not PathFinder for finder in sys.meta_path):
        return True
    heading = f"[{group}]".encode()
    for place in (Path(os.fsdecode(place)) for place in sys.path):  # there may be bytes
        if place.suffix == ".egg" or os.path.isfile(place):  # noqa: PTH113 -- Path's raises where it may not look
            return True
        with contextlib.suppress(OSError):  # a folder that can't be read has no packages for importlib either
            if any(_says(text, heading) for text in place.glob("*.*-info/entry_points.txt")):
                return True
    return False


def _says(text: Path, heading: bytes) -> bool:
    try:
        return heading in text.read_bytes()
    except OSError:  # one that can't be read hides no other
        return False
