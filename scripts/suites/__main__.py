"""Runs what scripts/test is asked for, and tells what came of it."""

from __future__ import annotations

import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from suites.brokers import Brokers, bare_environment, given
from suites.plan import Stage, Wanted, instead, read, stages, together
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
        self._wanted, self._plan, self._brokers = wanted, plan, brokers
        self.report = Report()

    def all(self) -> None:
        """Run every stage, whatever became of those before."""
        while self._plan:
            group = together(self._plan)
            if len(group) == 1:
                self._stage(group[0])
            else:
                self._at_once(group)
            del self._plan[: len(group)]
            for name in dict.fromkeys(stage.broker for stage in group if stage.broker):
                if all(later.broker != name for later in self._plan):
                    self._brokers.drop(name)

    def _stage(self, stage: Stage) -> None:
        if stage.part == "static":
            self._static()
        elif stage.broker is None:
            self._tests(stage, "", {})
        else:
            self._on_broker(stage, stage.broker)

    def _at_once(self, group: list[Stage]) -> None:
        """Run stages that wait more than they compute at the same time, each on a broker of its own."""
        with ThreadPoolExecutor(len(group)) as threads:
            for running in [threads.submit(self._stage, stage) for stage in group]:
                running.result()

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
            other = instead(stage, self._plan)
            if other is not None:
                self._plan.insert(len(together(self._plan)), other)

    def _tests(self, stage: Stage, title: str, environment: dict[str, str]) -> None:
        alone = len(together(self._plan)) == 1
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
    install(plan)
    brokers = Brokers(dict.fromkeys(stage.broker for stage in plan if stage.broker))
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
