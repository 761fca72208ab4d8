"""From the words of ``amqtask multi`` to nodes and their options, in Celery's grammar. Owns that grammar.

    start w1 w2 -c 3 -c:w1 10 -Q:1,2 images     names, options of all, of one, of several by name or place
    start 5 -c 3 -c:1-3 10 -Q:4,5 data          this many nodes; ranges of numbers

Which options there are, and which take a value, is read from the worker's own command.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from amqtask.plugins import did_you_mean
from amqtask.worker.options import node_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

RANGE_PREFIX = "amqtask"
"""Start of the names when only their number is given."""

DEFAULTS = {"--pidfile": "%n.pid", "--logfile": "%n%I.log"}
"""In the folder the workers run in."""

_OWN = {
    **dict.fromkeys(("--hostname", "--prefix", "--suffix", "--range-prefix"), True),
    **dict.fromkeys(("--nosplash", "-v", "--verbose"), False),
}
"""Options of multi itself, and whether they take a value."""

_SIGNAL = re.compile(r"-(?:\d+|[A-Z]{2,}\d?)")


@dataclass(slots=True)
class Words:
    """A command line, taken apart.

    Attributes:
        names: what is no option.
        own: options of multi.
        options: of all nodes, long or short name -> value, None for a flag.
        per_node: the same for some nodes; the key is what follows the colon.
        signal: such as ``-9`` or ``-TERM``, without the dash; empty when none was given.
        rest: from ``--`` on, handed on as it is.
    """

    names: list[str] = field(default_factory=list)
    own: dict[str, str | None] = field(default_factory=dict)
    options: dict[str, str | None] = field(default_factory=dict)
    per_node: dict[str, dict[str, str | None]] = field(default_factory=lambda: defaultdict(dict))
    signal: str = ""
    rest: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Node:
    """One worker to be.

    Attributes:
        name: ``name@host``.
        options: of its command line, pidfile and log file included, ``%`` sequences of nodes replaced.
        rest: further words of its command line.
    """

    name: str
    options: Mapping[str, str | None]
    rest: Sequence[str] = ()

    def words(self) -> list[str]:
        """Its options as words."""
        found = ["-n", self.name]
        for option, value in self.options.items():
            joined = option.startswith("--") and value is not None
            found += [f"{option}={value}"] if joined else [option] if value is None else [option, value]
        return [*found, *self.rest]

    def option(self, name: str) -> str | None:
        """Value of a long option."""
        return self.options.get(name)


class Grammar:
    """Reads command lines.

    Args:
        worker: the worker's command.
    """

    def __init__(self, worker: click.Command) -> None:
        self._takes_value: dict[str, bool] = {}
        self._canonical: dict[str, str] = {}
        for option in worker.params:
            if isinstance(option, click.Option):
                long = next((name for name in option.opts if name.startswith("--")), option.opts[0])
                for name in option.opts:
                    self._takes_value[name] = not option.is_flag
                    self._canonical[name] = long
        self._takes_value.update(_OWN)

    def read(self, words: Sequence[str]) -> Words:
        """Take a command line apart.

        Raises:
            click.UsageError: an option that workers don't have, or a value is missing.
        """
        found, left = Words(), [word for word in words if word]
        while left:
            word = left.pop(0)
            if word == "--":
                found.rest, left = left, []
            elif not word.startswith("-"):
                found.names.append(word)
            elif _SIGNAL.fullmatch(word) and word not in self._takes_value:
                found.signal = word[1:].removeprefix("SIG")
            else:
                self._option(found, word, left)
        return found

    def _option(self, found: Words, word: str, left: list[str]) -> None:
        head, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        name, colon, nodes = head.partition(":")
        if not equals and not colon and not word.startswith("--") and word[:2] in self._takes_value and word[2:]:
            name, equals, value = word[:2], "=", word[2:]  # -c3
        if name not in self._takes_value:
            hint = did_you_mean(name, self._takes_value)
            raise click.UsageError(f"workers have no option {name!r}{hint}")
        given: str | None = value if equals else None
        if self._takes_value[name] and given is None:
            if not left:
                raise click.UsageError(f"option {name!r} needs a value")
            given = left.pop(0)
        if name in _OWN or name == "-n":
            found.own["--hostname" if name == "-n" else name] = given
        else:
            (found.per_node[nodes] if colon else found.options)[self._canonical[name]] = given


def nodes_of(words: Words) -> list[Node]:
    """The nodes that a command line means.

    Raises:
        click.UsageError: no node is named, or an option is for one that is not there.
        ConfigError: a wrong node name.
    """
    own = words.own
    names, prefix = words.names, own.get("--prefix") or ""
    numbered = len(names) == 1 and names[0].isdecimal()
    if numbered:
        names = [str(number) for number in range(1, int(names[0]) + 1)]
        prefix = own.get("--range-prefix") or RANGE_PREFIX
    if not names:
        raise click.UsageError("Which nodes? Give names, or how many there are.")
    more = _per_node(words.per_node, names, numbered=numbered)
    made = []
    for name in names:
        full = name if "@" in name else f"{prefix}{name}@{own.get('--suffix') or own.get('--hostname') or '%h'}"
        node = node_name(full)
        given = {**DEFAULTS, **words.options, **more.get(name, {}), **words.per_node.get(node, {})}
        made.append(Node(node, {option: _expanded(value, node) for option, value in given.items()}, words.rest))
    return made


def _per_node(
    given: Mapping[str, Mapping[str, str | None]], names: Sequence[str], *, numbered: bool
) -> dict[str, dict[str, str | None]]:
    """Options by name of a node, whatever way it was written."""
    found: dict[str, dict[str, str | None]] = defaultdict(dict)
    for written, options in given.items():
        for one in _each(written, numbered=numbered):
            place = int(one) if one.isdecimal() and one not in names else 0
            if place > len(names):
                raise click.UsageError(f"there is no node {one}: {len(names)} are named")
            found[names[place - 1] if 0 < place <= len(names) else one].update(options)
    return found


def _each(written: str, *, numbered: bool) -> Iterable[str]:
    for part in written.split(","):
        first, dash, last = part.partition("-")
        if numbered and dash and first.isdecimal() and last.isdecimal():
            yield from (str(number) for number in range(int(first), int(last) + 1))
        else:
            yield part


def _expanded(value: str | None, node: str) -> str | None:
    """``%n``, ``%h``, ``%d`` and ``%p`` in any value; others are the worker's own."""
    if value is None:
        return None
    name, _, host = node.partition("@")
    known = {"p": node, "n": name, "h": host, "d": host.partition(".")[2]}
    return re.sub("%([phnd])", lambda found: known[found[1]], value)
