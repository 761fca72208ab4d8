"""Workers under limits over all of them, killed at random: no limit is exceeded, no token and no task is lost.

    python benchmarks/soaks/limits.py --minutes 5

Uses the broker of AMQTASK_BROKER_URL (scripts/rabbitmq start --temporary gives one), else starts one.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from amqtask.tasks.limits import LIMIT_KEY
from chosen_broker import shared_node
from worker_process import new_site

if TYPE_CHECKING:
    from worker_process import Event, Site

_RATE = 10
_JITTER = 0.1
"""Seconds that a busy machine may take between the start of a task and its first line."""

_TENANTS = "abc"
_SETTINGS = {"worker_lost_max_deliveries": 1000, "log": "warning"}


def start(site: Site, pool: str):
    return site.worker("-A", "limits_app", "-P", pool, "-c", "6", "-n", f"w{time.monotonic_ns()}", **_SETTINGS)


def most_at_once(events: list[Event], killed: dict[int, float]) -> int:
    """The most tasks between start and end; those of a killed worker ended with it."""
    changes, running, last = [], Counter(), {}
    for event in events:
        sign = 1 if event.event == "start" else -1
        changes.append((event.at, sign))
        running[event.pid, event.label] += sign
        last[event.pid] = event.at
    ends = {pid: max(at, last.get(pid, at)) for pid, at in killed.items()}
    changes += [(ends[pid], -count) for (pid, _), count in running.items() if count > 0 and pid in ends]
    now = most = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most


def most_within(times: list[float], span: float) -> int:
    times, first, most = sorted(times), 0, 0
    for last, at in enumerate(times):
        while at - times[first] >= span:
            first += 1
        most = max(most, last - first + 1)
    return most


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--pool", default="threads")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    dice, killed, kills = random.Random(given.seed), {}, 0
    with shared_node() as node, tempfile.TemporaryDirectory() as folder, new_site(node, Path(folder)) as site:
        workers = [start(site, given.pool) for _ in range(3)]
        count = int(given.minutes * 60 * 8)
        for number in range(count):
            tenant = dice.choice(_TENANTS)
            site.send("shared", f"rate-{number}")
            site.send("few", f"few-{number}", 0.1)
            site.send("per_tenant", f"{tenant}-{number}", tenant, headers={LIMIT_KEY: tenant})
        end = time.monotonic() + given.minutes * 60
        while time.monotonic() < end:
            time.sleep(dice.uniform(0.2, 3))
            victim = workers.pop(dice.randrange(len(workers)))
            family = victim.family()
            killed |= dict.fromkeys([victim.pid, *(child.pid for child in family)], time.time())
            victim.process.kill()
            victim.kill()
            workers.append(start(site, given.pool))
            kills += 1
        deadline = time.monotonic() + 120
        while (left := 3 * count - len(site.labels("done"))) and time.monotonic() < deadline:
            time.sleep(0.5)
        ends = [worker.stop() for worker in workers]
        time.sleep(1.5)
        events = site.events()
        tenants = [most_at_once([e for e in events if e.more.get("tenant") == one], killed) for one in _TENANTS]
        tokens = {
            "rate": site.ready("amqtask.limit.shared.tok"),
            "few": site.ready("amqtask.limit.few.per"),
            **{one: site.ready(f"amqtask.limit.per_tenant.{one}.per") for one in _TENANTS},
        }
        rate = most_within([e.at for e in events if e.label.startswith("rate-")], 1.0 - _JITTER)
        few = most_at_once([e for e in events if e.label.startswith("few-")], killed)
        print(f"seed={given.seed} kills={kills} tasks={3 * count} left={left} ends={ends} tokens={tokens}")
        print(f"most within {1.0 - _JITTER:.2f} s: {rate} of {_RATE}; at once: few {few} of 2, tenants {tenants} of 1")
        good = not left and tokens == {"rate": _RATE, "few": 2, **dict.fromkeys(_TENANTS, 1)}
        return 0 if good and rate <= _RATE and few <= 2 and max(tenants) <= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
