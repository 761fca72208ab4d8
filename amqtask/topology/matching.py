"""How a task name meets a route's pattern, and how a message meets a binding.

Owns the matching rules of routes (exact, glob, ``/regex/``) and of AMQP's exchange types. Pure functions.
"""

from __future__ import annotations

import fnmatch
import re
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from amqtask.topology.declarations import Binding

_GLOB = re.compile(r"[*?\[]")


def pattern_kind(pattern: str) -> str:
    """``"regex"`` for ``/…/``, ``"glob"`` when it has ``*``, ``?`` or ``[``, else ``"exact"``."""
    if len(pattern) > 1 and pattern.startswith("/") and pattern.endswith("/"):
        return "regex"
    return "glob" if _GLOB.search(pattern) else "exact"


def name_matcher(pattern: str) -> Callable[[str], bool]:
    """A test of task names against a route's pattern, case-sensitive.

    Exact names and globs must fit the whole name (``*`` crosses dots); a regex may match anywhere in it.

    Raises:
        re.error: the regex is broken.
    """
    kind = pattern_kind(pattern)
    if kind == "exact":
        return pattern.__eq__
    if kind == "regex":
        search = re.compile(pattern[1:-1]).search
        return lambda name: search(name) is not None
    match = re.compile(fnmatch.translate(pattern)).match
    return lambda name: match(name) is not None


def catches_all(pattern: str) -> bool:
    """Does the route's pattern match every task name? Only the plain ways to write that are recognised."""
    return pattern in ("*", "**", "/.*/", "/.+/", "/^/", "/^.*$/", "/^.+$/")


def topic_matches(pattern: str, routing_key: str) -> bool:
    """AMQP's topic rule: words between dots; ``*`` is exactly one word, ``#`` any number of them or none."""
    words = _words(routing_key)
    # positions of the pattern that can be reached after the words read so far
    parts = _words(pattern)
    reached = _skip_hashes(parts, {0})
    for word in words:
        step = set()
        for at in reached:
            if at == len(parts):
                continue
            if parts[at] == "#":
                step.add(at)
            elif parts[at] in ("*", word):
                step.add(at + 1)
        reached = _skip_hashes(parts, step)
        if not reached:
            return False
    return len(parts) in reached


def headers_match(arguments: Mapping[str, Any], headers: Mapping[str, Any]) -> bool:
    """The headers exchange's rule: ``x-match`` is all (default), any, all-with-x or any-with-x.

    An argument of None asks only for the header's presence. Keys starting with ``x-`` count only ``-with-x``.
    """
    how = str(arguments.get("x-match", "all"))
    asked = [
        (key, value)
        for key, value in arguments.items()
        if key != "x-match" and (how.endswith("-with-x") or not key.startswith("x-"))
    ]
    hits = (key in headers and (value is None or headers[key] == value) for key, value in asked)
    return any(hits) if how.startswith("any") else all(hits)


def matching_bindings(
    exchange_type: str,
    bindings: Sequence[tuple[str, Binding]],
    routing_key: str,
    headers: Mapping[str, Any],
) -> list[str]:
    """Destinations of the bindings through which an exchange of this type sends the message on, in order."""
    if exchange_type == "x-consistent-hash":
        return _hashed(bindings, routing_key)
    tests: dict[str, Callable[[Binding], bool]] = {
        "fanout": lambda _binding: True,
        "direct": lambda binding: binding.routing_key == routing_key,
        "topic": lambda binding: topic_matches(binding.routing_key, routing_key),
        "headers": lambda binding: headers_match(binding.arguments, headers),
    }
    test = tests.get(exchange_type, tests["direct"])
    return list(dict.fromkeys(destination for destination, binding in bindings if test(binding)))


def _words(key: str) -> list[str]:
    return key.split(".") if key else []


def _skip_hashes(parts: list[str], positions: set[int]) -> set[int]:
    """``#`` may stand for no word at all."""
    reached = set(positions)
    for at in positions:
        after = at
        while after < len(parts) and parts[after] == "#":
            after += 1
            reached.add(after)
    return reached


def _hashed(bindings: Sequence[tuple[str, Binding]], routing_key: str) -> list[str]:
    """One destination, by weight. RabbitMQ's own choice may differ, but is as constant."""
    slots = [
        destination
        for destination, binding in bindings
        for _ in range(int(binding.routing_key) if binding.routing_key.isdecimal() else 1)
    ]
    return [slots[zlib.crc32(routing_key.encode()) % len(slots)]] if slots else []
