"""How long it takes from the end of a leading scheduler, or its freezing, until another one leads.

    python benchmarks/soaks/failover.py --rounds 20 --heartbeat 5

Two schedulers as processes of their own, on the broker of AMQTASK_BROKER_URL (scripts/rabbitmq start --temporary gives
one). Times are seen in the log of the next leader, so they are an upper bound.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from beats import Crowd, judged, taken

if TYPE_CHECKING:
    from collections.abc import Callable


def leaders(crowd: Crowd) -> list[int]:
    """Process ids of those that have come to lead, in order."""
    return [int(line.split("pid ")[1].split(")")[0]) for line in crowd.log.splitlines() if "Leading (pid" in line]


def until(condition: Callable[[], object], timeout: float = 60.0) -> float:
    """Seconds until a condition holds."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > timeout:
            raise TimeoutError
        time.sleep(0.001)
    return time.monotonic() - begun


def add(crowd: Crowd) -> None:
    """One more, which waits for its turn."""
    waiting = crowd.log.count("waiting for the lead")
    crowd.start()
    until(lambda: crowd.log.count("waiting for the lead") > waiting)
    time.sleep(0.5)  # its connection


def one_round(crowd: Crowd, how: int) -> float:
    """Ends the leader this way; returns seconds until another one leads."""
    while sum(one.poll() is None for one in crowd.processes) < 2:
        add(crowd)
    count = len(leaders(crowd))
    leader = next(one for one in crowd.processes if one.pid == leaders(crowd)[-1])
    leader.send_signal(how)
    seconds = until(lambda: len(leaders(crowd)) > count)
    if how == signal.SIGSTOP:
        leader.kill()
    leader.wait(10)
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--heartbeat", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        crowd = Crowd(Path(folder), os.environ["AMQTASK_BROKER_URL"], every=1.0, heartbeat=given.heartbeat)
        try:
            crowd.start()
            until(lambda: leaders(crowd))
            for name, how, rounds in (
                ("SIGTERM", signal.SIGTERM, given.rounds),
                ("SIGKILL", signal.SIGKILL, given.rounds),
                ("SIGSTOP", signal.SIGSTOP, max(given.rounds // 4, 1)),
            ):
                times = sorted(one_round(crowd, how) for _ in range(rounds))
                print(f"{name}: {rounds} rounds, median {times[len(times) // 2]:.3f} s, longest {times[-1]:.3f} s")
            time.sleep(3)
            dues = [due for _, due in taken(crowd.app)]
        finally:
            crowd.close()
    twice, missing = judged(dues, 1.0)
    print(f"heartbeat {given.heartbeat} s; {len(dues)} due times, {twice} twice, {missing} left out")
    return int(bool(twice or missing))


if __name__ == "__main__":
    sys.exit(main())
