"""Stamps: values that travel with every message of a piece of work. Owns who gets which, as Celery has it.

A stamp is an option whose name stands in the option ``stamped_headers``; the wire puts both into headers of their own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from amqtask.canvas.normal import options_of
from amqtask.canvas.shapes import Shape, body, kind, listed, members, options

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = "stamped_headers"


class StampingVisitor(ABC):
    """Says what stamps each part of a piece of work gets; each method gets the stamps from above, and returns more.

    A returned ``stamped_headers`` names which of the others are stamps; without it all are.
    """

    @abstractmethod
    def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any] | None:
        """For one task."""

    def on_group_start(self, group: Any, **headers: Any) -> dict[str, Any] | None:  # noqa: ARG002 -- for those who override it
        """For a group and its members."""
        return None

    def on_group_end(self, group: Any, **headers: Any) -> None:  # noqa: ARG002 -- for those who override it
        """The members are stamped."""
        return

    def on_chain_start(self, chain: Any, **headers: Any) -> dict[str, Any] | None:  # noqa: ARG002 -- for those who override it
        """For a chain and its steps."""
        return None

    def on_chain_end(self, chain: Any, **headers: Any) -> None:  # noqa: ARG002 -- for those who override it
        """The steps are stamped."""
        return

    def on_chord_header_start(self, chord: Any, **headers: Any) -> dict[str, Any] | None:  # noqa: ARG002 -- for those who override it
        """For the members of a chord's header, and its body."""
        return None

    def on_chord_header_end(self, chord: Any, **headers: Any) -> None:  # noqa: ARG002 -- for those who override it
        """The members are stamped."""
        return

    def on_chord_body(self, chord: Any, **headers: Any) -> dict[str, Any] | None:  # noqa: ARG002 -- for those who override it
        """For the body."""
        return None

    def on_callback(self, callback: Any, **headers: Any) -> dict[str, Any] | None:  # noqa: ARG002 -- for those who override it
        """For a callback."""
        return None

    def on_errback(self, errback: Any, **headers: Any) -> dict[str, Any] | None:  # noqa: ARG002 -- for those who override it
        """For an errback."""
        return None


def stamp(sig: Shape, visitor: StampingVisitor | None, append: bool, headers: Mapping[str, Any]) -> None:
    """Put stamps on a signature and all inside of it, in place.

    Args:
        sig: a signature.
        visitor: or None.
        append: join stamps of one name into a list, instead of keeping the newer.
        headers: stamps for all, maybe with ``stamped_headers``.
    """
    which = kind(sig)
    if which == "task":
        given = _merged(_seen(visitor and visitor.on_signature, sig, headers), headers, append)
        _stamp_links(sig, visitor, append, headers)
        options_of(sig).update(_joined(given, _own(sig), append))
        return
    start, end = _hooks(visitor, which)
    given = _merged(_seen(start, sig, headers), headers, append)
    _stamp_links(sig, visitor, append, given)
    for task in members(sig):
        stamp(task, visitor, append, given)
    if end is not None:
        end(sig, **given)
    then = body(sig) if which == "chord" else None
    if then is not None:
        given = _merged(_seen(visitor and visitor.on_chord_body, sig, given), given, append)
        stamp(then, visitor, append, given)


def _hooks(visitor: StampingVisitor | None, which: str) -> tuple[Any, Any]:
    name = "chord_header" if which == "chord" else which
    return getattr(visitor, f"on_{name}_start", None), getattr(visitor, f"on_{name}_end", None)


def _seen(hook: Any, sig: Shape, headers: Mapping[str, Any]) -> dict[str, Any]:
    return dict((hook(sig, **headers) if hook else None) or {})


def _stamp_links(sig: Shape, visitor: StampingVisitor | None, append: bool, headers: Mapping[str, Any]) -> None:
    for name, hook in (("link", "on_callback"), ("link_error", "on_errback")):
        for linked in listed(options(sig).get(name)):
            stamp(
                linked, visitor, append, _merged(_seen(getattr(visitor, hook, None), linked, headers), headers, append)
            )


def _merged(more: dict[str, Any], headers: Mapping[str, Any], append: bool) -> dict[str, Any]:
    """Stamps from above and those that a visitor adds, whose own win."""
    if more and _NAMES not in more:
        more[_NAMES] = list(more)
    above = {**headers, _NAMES: listed(headers.get(_NAMES)) or [name for name in headers if name != _NAMES]}
    return _joined(more, above, append) if more else above


def _own(sig: Shape) -> dict[str, Any]:
    """The stamps that a signature has."""
    given = options(sig)
    names = listed(given.get(_NAMES))
    return {_NAMES: names, **{name: given[name] for name in names if name in given}}


def _joined(first: Mapping[str, Any], second: Mapping[str, Any], append: bool) -> dict[str, Any]:
    """Both; of one name ``first`` stands, or both as a list."""
    new = {**second, **first}
    if append:
        for name in first.keys() & second.keys() - {_NAMES}:
            new[name] = listed(second[name]) + [
                item for item in listed(first[name]) if item not in listed(second[name])
            ]
    new[_NAMES] = list(dict.fromkeys([*listed(second.get(_NAMES)), *listed(first.get(_NAMES))]))
    return new
