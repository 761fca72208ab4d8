"""The names of options in signatures. Owns finding those that mean nothing, before they are sent.

A misspelt option of a call is an error; that of a signature would travel with it and change nothing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from amqtask.canvas.plan import CHORD_OPTION
from amqtask.canvas.shapes import CELERYS_OWN, body, is_shape, kind, listed, members, options, stamp_names
from amqtask.plugins import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from amqtask.canvas.shapes import Shape

logger = logging.getLogger(__name__)

_OF_THE_CANVAS: Final = frozenset(
    {"chain", "chord", "replaced_task_nesting", "stamped_headers", CHORD_OPTION, *CELERYS_OWN}
)
"""What planning, stamping and Celery put there, beside what callers may say."""
_INNER: Final = ("link", "link_error", "chain", "chord")
"""Options that hold signatures."""


def check_names(sig: Shape, given: Mapping[str, Any], known: frozenset[str], *, lenient: bool = False) -> None:
    """Refuse options that nobody knows, of a signature, its parts, callbacks and errbacks, and of the call.

    Args:
        sig: about to be sent.
        given: options of the call.
        known: names of options that callers may use.
        lenient: only say so in the log.

    Raises:
        TypeError: names the option, and what may be meant.
    """
    waiting = [{**sig, "options": {**options(sig), **given}}]
    while waiting:
        one = waiting.pop()
        own = options(one)
        stamps = stamp_names(own)
        for name in own.keys() - known - _OF_THE_CANVAS:
            if name not in stamps:
                _tell(one, name, known, lenient=lenient)
        waiting += _parts(one)


def _tell(sig: Shape, name: str, known: frozenset[str], *, lenient: bool) -> None:
    hint = did_you_mean(name, known) or f"; there are {', '.join(sorted(known))}"
    if not lenient:
        raise TypeError(f"unknown option {name!r} in the signature of {sig['task']}{hint}")
    logger.warning("Unknown option %r in the signature of %s ignored%s", name, sig["task"], hint)


def _parts(sig: Shape) -> Iterator[Shape]:
    given = options(sig)
    for name in _INNER:
        yield from filter(is_shape, listed(given.get(name)))
    if kind(sig) == "task":
        return
    yield from members(sig)
    for part in (sig["kwargs"].get("header"), body(sig)) if kind(sig) == "chord" else ():
        if is_shape(part):
            yield part
