"""The demo: sends the work, shows the progress, prints what was measured.

scripts/demo prepares everything for it: broker, topology, workers, and the variable FILES_RESULTS.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from examples.files import report
from examples.files.measure import RESULTS, Attempt, attempts
from examples.files.produce import Plan, plan, send
from examples.files.tasks import app

QUEUES = ("files.small", "files.large")


class DemoError(Exception):
    """The demo can't go on; says why."""


def ask(*command: str) -> Any:
    """What an ``amqtask`` command with --json answers."""
    line = [sys.executable, "-m", "amqtask", *command, "-A", "examples.files.tasks", "--json"]
    answer = subprocess.run(line, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise DemoError(answer.stderr.strip() or f"amqtask {' '.join(command)} failed")
    return json.loads(answer.stdout)


def queues() -> dict[str, dict[str, Any]]:
    """The state of each queue."""
    return {row["queue"]: row for row in ask("queue", "list")["queues"]}


def wait_for_workers(seconds: float) -> None:
    """Until each queue has a consumer."""
    deadline = time.monotonic() + seconds
    while not all(row["consumers"] for row in queues().values()):
        if time.monotonic() > deadline:
            raise DemoError(f"the workers did not come up within {seconds:g} s")


class Progress:
    """How far the work is, from the tasks' own notes.

    A task has ended when an attempt succeeded, or when its message is a dead letter. Only the broker knows of
    those, and it is asked only once every message has had an attempt.
    """

    def __init__(self, results: Path, work: Plan) -> None:
        self.results, self.work = results, work
        self.dead: Counter[str] = Counter()
        self.notes: list[Attempt] = []

    def update(self) -> tuple[int, int]:
        """Read again; how many have ended, and how many of those well."""
        self.notes = attempts(self.results)
        seen = {(note.id, note.queue) for note in self.notes}
        well = {(note.id, note.queue) for note in self.notes if note.ok}
        if len(seen) == self.work.runs:
            self.dead = Counter({name: row["dead"] or 0 for name, row in queues().items()})
        return len(well) + self.dead.total(), len(well)

    def follow(self, bar: report.Bar, seconds: float) -> None:
        """Show the progress until all has ended."""
        deadline = time.monotonic() + seconds
        while (ended := self.update()[0]) < self.work.runs:
            bar.show(ended)
            if time.monotonic() > deadline:
                raise DemoError(f"{self.work.runs - ended} tasks have not ended within {seconds:g} s")
            time.sleep(0.2)
        bar.show(ended)


def run(count: int, results: Path, seconds: float) -> bool:
    """Send, follow, report; whether every message is accounted for."""
    wait_for_workers(30.0)
    if any(row["ready"] or row["dead"] for row in queues().values()):
        raise DemoError("the demo's queues hold messages already; amqtask queue list shows them")
    work = plan(count, results.parent)
    progress = Progress(results, work)
    begin = time.monotonic()
    with app, report.Bar(work.runs) as bar:
        send(work, lambda: bar.show(progress.update()[0]))
        progress.follow(bar, seconds)
    took, well = time.monotonic() - begin, progress.update()[1]
    letters = [letter for name in QUEUES for letter in ask("dead", "list", name)]
    report.table(QUEUES, progress.notes, progress.dead)
    report.dead_letters(letters)
    print(f"\n{work.runs} messages sent, {well} done, {len(letters)} dead letters, in {took:.1f} s.")
    return work.runs == well + len(letters) and len(letters) == work.bad


def main() -> int:
    """Exit code 0 when every message is accounted for, 1 when not, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="small files to send (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=300.0, help="give up after (default: %(default)s)")
    options = parser.parse_args()
    try:
        complete = run(max(options.count, 1), Path(os.environ[RESULTS]), options.seconds)
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if not complete:
        print("demo: the numbers do not add up: please report this", file=sys.stderr)
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
