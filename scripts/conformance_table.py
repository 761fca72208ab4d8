#!/usr/bin/env python3
"""Writes the table of docs/reference/devbroker.md: how many cases of the conformance suite passed on each broker.

    pytest tests/conformance/amqp --junitxml=dev.xml        (once per broker)
    scripts/conformance_table.py "dev broker=dev.xml" "RabbitMQ 4.3.6=43.xml" ...

The first result decides which areas and cases there are; the others have to have run the same ones.
"""

from __future__ import annotations

import ast
import re
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SUITE = ROOT / "tests" / "conformance" / "amqp"
PAGE = ROOT / "docs" / "reference" / "devbroker.md"

_TABLE = re.compile(r"(<!-- conformance -->\n).*?(<!-- end of conformance -->)", re.DOTALL)


class Counts(NamedTuple):
    """Cases of one area on one broker."""

    passed: int
    all: int

    def __str__(self) -> str:
        return str(self.passed) if self.passed == self.all else f"**{self.passed} of {self.all}**"


def read(result: Path) -> dict[str, Counts]:
    """The counts by area of a JUnit file; a case that was skipped has not passed."""
    passed: Counter[str] = Counter()
    every: Counter[str] = Counter()
    for case in ET.parse(result).iter("testcase"):
        area = case.get("classname", "").rpartition(".")[2]
        every[area] += 1
        passed[area] += all(case.find(trouble) is None for trouble in ("failure", "error", "skipped"))
    return {area: Counts(passed[area], count) for area, count in every.items()}


def subject(area: str) -> str:
    """What the tests of an area are about: the first sentence of their file."""
    about = ast.get_docstring(ast.parse((SUITE / f"{area}.py").read_text())) or area
    return about.partition("\n")[0].rstrip(".")


def table(results: dict[str, dict[str, Counts]]) -> str:
    """The Markdown table of results by broker."""
    areas = sorted(next(iter(results.values())))
    for broker, counts in results.items():
        missing = {area for area in areas if counts.get(area, Counts(0, 0)).all != results_of(results, area)}
        if missing or counts.keys() - set(areas):
            raise SystemExit(f"{broker}: other cases than the first one in {sorted(missing) or 'further areas'}")
    rows = [f"| what | {' | '.join(['cases', *results])} |", f"|---|{'---:|' * (len(results) + 1)}"]
    for area in areas:
        cells = [str(results_of(results, area)), *(str(counts[area]) for counts in results.values())]
        rows.append(f"| {subject(area)} | {' | '.join(cells)} |")
    totals = [Counts(*map(sum, zip(*counts.values(), strict=True))) for counts in results.values()]
    rows.append(f"| **all** | {totals[0].all} | {' | '.join(map(str, totals))} |")
    return "\n".join(rows) + "\n"


def results_of(results: dict[str, dict[str, Counts]], area: str) -> int:
    """How many cases an area has, by the first result."""
    return next(iter(results.values()))[area].all


def main(arguments: list[str]) -> None:
    """Read the results that are named and write the page."""
    if not arguments or not all("=" in argument for argument in arguments):
        raise SystemExit(__doc__)
    results = {broker: read(Path(path)) for broker, _, path in (one.partition("=") for one in arguments)}
    made = table(results)
    PAGE.write_text(_TABLE.sub(lambda match: match[1] + made + match[2], PAGE.read_text()))


if __name__ == "__main__":
    main(sys.argv[1:])
