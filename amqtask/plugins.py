"""Registries of interchangeable parts: one module per part in a folder, plus entry points of other packages.

Owns look-up and its error message. Nothing is imported before it is asked for.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import EntryPoints

T = TypeVar("T")


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """``"; did you mean 'prefork'?"``, or an empty text when nothing is near."""
    known, name = list(known), str(name)  # it may be anything, from a message
    words = sorted(name.split("_"))
    swapped = [one for one in known if sorted(one.split("_")) == words]  # time_soft_limit
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
            ConfigError: there is none; names the nearest.
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
                return cast("T", entry.load())
        known = self.names()
        raise ConfigError(f"unknown {self.kind} {name!r}; there are {', '.join(known)}{did_you_mean(name, known)}")


def _entry_points(group: str) -> EntryPoints:
    from importlib.metadata import entry_points  # noqa: PLC0415 -- 30 ms that few programs need

    return entry_points(group=group)
