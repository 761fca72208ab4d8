"""Runs what scripts/test is asked for, and tells what came of it."""

from __future__ import annotations

import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from suites.brokers import Brokers, bare_environment, given
from suites.plan import AT_MOST, Stage, Wanted, in_order, instead, read, stages
from suites.processes import CHECKS, check, pytest
from suites.report import Report
from suites.services import install


class Run:
    """One run.

    Args:
        wanted: by the command line.
        plan: its stages.
        brokers: for them.
    """

    def __init__(self, wanted: Wanted, plan: list[Stage], brokers: Brokers) -> None:
        self._wanted, self._brokers = wanted, brokers
        self._plan = plan
        self._left = in_order(plan)
        self._running: list[Stage] = []
        self._lock = threading.Lock()
        self._checked = threading.Event()
        if all(stage.part != "static" for stage in plan):
            self._checked.set()
        self.report = Report()

    def all(self) -> None:
        """Run every stage, whatever became of the others: some at a time, and the next when one has ended."""
        with ThreadPoolExecutor(min(AT_MOST, len(self._plan))) as threads:
            try:
                for running in [threads.submit(self._some) for _ in range(AT_MOST)]:
                    running.result()
            except BaseException:
                self._left.clear()
                raise

    def _some(self) -> None:
        """Run stages until none is left."""
        while True:
            with self._lock:
                if not self._left:
                    return
                stage = self._left.pop(0)
                self._running.append(stage)
            self._stage(stage)
            with self._lock:
                self._running.remove(stage)
                needed = {other.broker for other in (*self._left, *self._running)}
            if stage.broker and stage.broker not in needed:
                self._brokers.drop(stage.broker)

    def _stage(self, stage: Stage) -> None:
        if stage.part == "static":
            self._static()
            self._checked.set()
        elif stage.part == "typing":
            self._checked.wait()  # they have filled the cache
            self._tests(stage, "", {})
        elif stage.broker is None:
            self._tests(stage, "", {})
        else:
            self._on_broker(stage, stage.broker)

    def _static(self) -> None:
        for name in CHECKS:
            print(f"--- {name}", flush=True)
            begin = time.monotonic()
            ok = check(name)
            self.report.checked(name, time.monotonic() - begin, ok=ok)

    def _on_broker(self, stage: Stage, name: str) -> None:
        ready = self._brokers.get(name)
        if ready.problem is None:
            self._tests(stage, ready.title, ready.environment)
        elif self._wanted.brokers or not ready.excused:  # asked for by name, or something is broken
            self.report.failed(stage.part, ready.title, ready.problem)
        else:
            self.report.missing(ready.title, ready.problem, stage.part)
            with self._lock:
                other = instead(stage, self._plan)
                if other is not None:
                    self._left.append(other)

    def _tests(self, stage: Stage, title: str, environment: dict[str, str]) -> None:
        alone = len(self._plan) == 1
        heading = f"--- {stage.part}{title and f' on {title}'}"
        if alone:
            print(heading, flush=True)
        if stage.again:
            environment = environment | {"AMQTASK_TEST_AGAIN": "1"}
        begin = time.monotonic()
        code, output = pytest([*stage.targets, *self._wanted.rest], bare_environment() | environment, show=alone)
        if not alone:
            print(f"{heading}\n{output}", end="", flush=True)
        self.report.tested(stage.part, title, time.monotonic() - begin, code, output)


def main(words: list[str]) -> int:
    begin = time.monotonic()
    try:
        wanted = read(words)
    except ValueError as error:
        print(f"test: {error}", file=sys.stderr)
        return 64
    plan = stages(wanted, given=bool(given()))
    brokers = Brokers(dict.fromkeys(stage.broker for stage in plan if stage.broker), lambda: install(plan))
    run = Run(wanted, plan, brokers)
    try:
        run.all()
    except KeyboardInterrupt:
        return 130
    finally:
        brokers.close()
    print(run.report.text(time.monotonic() - begin))
    return 0 if run.report.ok else 1


def _end(number: int, _frame: object) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    sys.exit(main(sys.argv[1:]))
