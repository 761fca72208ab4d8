"""What a run came to: a line per stage, the sums, and in large letters what could not be tested."""

from __future__ import annotations

import re
import threading
from collections import Counter
from typing import NamedTuple

ONLY = re.compile(r"^only on RabbitMQ: (.*) \((\d+)\)$", re.MULTILINE)
"""Lines that tests/conftest.py writes."""
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
NO_TESTS = 5


class Line(NamedTuple):
    """One stage."""

    name: str
    broker: str
    ok: bool
    seconds: float
    detail: str


class Report:
    """Collects the results of a run. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: list[Line] = []
        self._sums: Counter[str] = Counter()
        self._missing: dict[str, tuple[str, list[str]]] = {}
        self._left_out: Counter[str] = Counter()

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return all(line.ok for line in self._lines)

    def checked(self, name: str, seconds: float, *, ok: bool) -> None:
        """A check without tests of its own."""
        self._sums["passed" if ok else "failed"] += 1
        self._lines.append(Line(name, "", ok, seconds, ""))

    def tested(self, name: str, broker: str, seconds: float, code: int, output: str) -> None:
        """A run of pytest, with its exit code and all it wrote."""
        plain = COLOURS.sub("", output)
        last = plain.rstrip().rpartition("\n")[2].strip("= ")
        counts = {word.rstrip("s"): int(number) for number, word in re.findall(r"(\d+) ([a-z]+)", last)}
        if not re.search(r"\d+ (passed|failed|error|skipped|deselected)|no tests", last):
            counts, last = {}, f"ended with exit code {code}"
        ok = code in (0, NO_TESTS)
        bad = counts.get("failed", 0) + counts.get("error", 0)
        with self._lock:
            self._sums["passed"] += counts.get("passed", 0)
            self._sums["skipped"] += counts.get("skipped", 0)
            self._sums["failed"] += bad if ok or bad else 1
            self._lines.append(Line(name, broker, ok, seconds, last))
            for reason, count in ONLY.findall(plain):
                self._left_out[reason] = max(int(count), self._left_out[reason])

    def failed(self, name: str, broker: str, problem: str) -> None:
        """A stage that could not begin."""
        with self._lock:
            self._sums["failed"] += 1
            self._lines.append(Line(name, broker, ok=False, seconds=0, detail=problem))

    def missing(self, broker: str, problem: str, name: str) -> None:
        """A stage that could not run on a broker that this machine can't have."""
        self._missing.setdefault(broker, (problem, []))[1].append(name)

    def text(self, seconds: float) -> str:
        """All of it."""
        rows = [
            f"{name:14} {broker:15} {'ok' if ok else 'FAILED':7} {took:4.0f} s  {detail}".rstrip()
            for name, broker, ok, took, detail in self._lines
        ]
        sums = ", ".join(f"{self._sums[word]} {word}" for word in ("passed", "failed", "skipped"))
        return "\n".join(["", *rows, f"{sums} in {seconds:.0f} s", *self._not_tested()])

    def _not_tested(self) -> list[str]:
        if not self._missing:
            return []
        rows = ["", "*" * 100, "NOT TESTED ON THIS MACHINE"]
        for broker, (problem, names) in self._missing.items():
            rows += [f"  {', '.join(names)} on {broker}:", f"    {problem}"]
        if self._left_out:
            rows.append("  on the dev broker, what only RabbitMQ can do:")
            rows += [f"    {reason} ({count} tests)" for reason, count in self._left_out.most_common()]
        return [*rows, "*" * 100]
