"""Which parts of the tests run, and on which brokers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

PARTS = ("static", "unit", "property", "typing", "conformance", "integration", "acceptance", "chaos")
ON_BROKER = ("conformance", "integration", "acceptance", "chaos")
FILES = "files"

DEV, OWN, NEWEST = "dev", "rabbitmq", "4.3"
"""The development broker, the distribution's RabbitMQ, and the newest of those below."""
MATRIX = (DEV, "3.10", "4.0", NEWEST)
ALIASES = {"newest": NEWEST, "distribution": OWN}

USUAL = {
    "conformance": (DEV, OWN, NEWEST),
    "integration": (DEV, OWN),
    "acceptance": (OWN,),
    "chaos": (OWN,),
    FILES: (OWN,),
}
"""Where the parts run when nothing else is asked for."""

AT_MOST = 6
"""Stages on one machine at a time: most of them wait for timers and brokers most of their time."""

ORDER = ("static", "unit", "property", "integration", "chaos", "conformance", "acceptance", "typing")
"""Parts in the order in which they begin: what computes while brokers are got ready, then what takes longest, so that
nothing long is left alone in the end. The tests of types use the cache of the static checks."""

SHARES = {"integration": 2, "acceptance": 2, "chaos": 3}
"""Parts that wait longest, for processes and brokers that start: their files run in so many shares at once."""

_LONG = {
    "chaos/test_worker_faults": 160,
    "chaos/test_rpc_faults": 130,
    "chaos/test_canvas_faults": 100,
    "chaos/test_publisher_faults": 95,
    "chaos/test_chords": 75,
}
"""Seconds of files that take much longer than the others of their part, which count as 10."""

AMQP = ("tests/conformance/amqp", "tests/conformance/test_devbroker_model.py")
"""What of the conformance tests is about the broker; the rest runs once."""

OURS = ("tests/conformance/pools", "tests/conformance/results", "tests/conformance/test_pools.py")
"""The rest: pools and result backends."""


class Stage(NamedTuple):
    """One run of pytest, or the static checks.

    Attributes:
        part: one of PARTS, or FILES.
        broker: None where none is needed.
        targets: files and folders for pytest.
        again: the same part runs on another broker before; what needs no broker is not run once more.
    """

    part: str
    broker: str | None
    targets: tuple[str, ...]
    again: bool = False


class Wanted(NamedTuple):
    """The words of a command line.

    Attributes:
        parts: to run; empty for all.
        paths: to run instead.
        brokers: empty for the usual ones.
        rest: for pytest.
    """

    parts: tuple[str, ...]
    paths: tuple[str, ...]
    brokers: tuple[str, ...]
    rest: tuple[str, ...]


def read(words: list[str]) -> Wanted:
    """Sort the words of a command line.

    Raises:
        ValueError: a broker that is not known.
    """
    parts: list[str] = []
    paths: list[str] = []
    rest: list[str] = []
    brokers: list[str] = []
    left = iter(words)
    for word in left:
        if word == "--broker" or word.startswith("--broker="):
            brokers += _brokers(word.partition("=")[2] or next(left, ""))
        elif not rest and word in PARTS:
            parts.append(word)
        elif "tests/" in word and Path(word.partition("::")[0]).exists():
            paths.append(word)
        else:
            rest.append(word)
    return Wanted(tuple(parts), tuple(paths), tuple(dict.fromkeys(brokers)), tuple(rest))


def _brokers(text: str) -> list[str]:
    found: list[str] = []
    for name in text.split(","):
        if name == "all":
            found += MATRIX
        elif ALIASES.get(name, name) in (*MATRIX, OWN):
            found.append(ALIASES.get(name, name))
        else:
            raise ValueError(f"no broker {name!r}: {', '.join((*MATRIX, OWN, *ALIASES, 'all'))}")
    return found


def stages(wanted: Wanted, *, given: bool) -> list[Stage]:
    """What to run, in order.

    Args:
        wanted: by the command line.
        given: whether the environment names a broker, which then stands for all RabbitMQs of the usual choice.
    """
    if wanted.paths:
        bare = all(re.search(r"tests/(unit|property|typing)/", path) for path in wanted.paths)
        brokers = (None,) if bare else wanted.brokers or USUAL[FILES]
        return [Stage(FILES, broker, wanted.paths) for broker in brokers]
    found = []
    for part in wanted.parts or PARTS:
        if part not in ON_BROKER:
            found.append(Stage(part, None, (f"tests/{part}",)))
            continue
        brokers = wanted.brokers or tuple(name for name in USUAL[part] if not (given and name == NEWEST))
        if part == "conformance":
            found.append(Stage(part, brokers[0], OURS))
            found += [Stage(part, broker, AMQP, again=broker != brokers[0]) for broker in brokers]
            continue
        shares = [(f"tests/{part}",)] if given else _shares(part)
        found += [Stage(part, broker, share, again=broker != brokers[0]) for broker in brokers for share in shares]
    return found


def _shares(part: str) -> list[tuple[str, ...]]:
    """The files, the longest first, each given to who has the least."""
    weights = {str(path): _LONG.get(f"{part}/{path.stem}", 10) for path in Path("tests", part).glob("test_*.py")}
    shares: list[list[str]] = [[] for _ in range(SHARES[part])]
    for file in sorted(weights, key=lambda file: (-weights[file], file)):
        min(shares, key=lambda share: sum(map(weights.__getitem__, share))).append(file)
    return [tuple(share) for share in shares]


def in_order(plan: list[Stage]) -> list[Stage]:
    """The stages in the order in which they are to begin; those of one part stay in theirs."""
    return sorted(plan, key=lambda stage: (*ORDER, FILES).index(stage.part))


def instead(stage: Stage, plan: list[Stage]) -> Stage | None:
    """The stage for one whose broker can't be had: the same on the dev broker, unless it runs there anyway."""
    if any((other.part, other.broker) == (stage.part, DEV) for other in plan):
        return None
    return stage._replace(broker=DEV)
