"""Three schedulers with a one second entry, killed, paused and cut off at random: each due time once.

    python benchmarks/soaks/beat.py --minutes 10

Uses the broker of AMQTASK_BROKER_URL (scripts/rabbitmq start --temporary gives one).
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from beats import Crowd, judged, taken
from proxy import Proxy


def hurt(crowd: Crowd, proxy: Proxy, choose: random.Random) -> str:
    """Does one bad thing; returns what."""
    alive = [one for one in crowd.processes if one.poll() is None]
    victim = choose.choice(alive)
    what = choose.choice(["kill", "end", "freeze", "cut", "nothing"])
    if what == "kill":
        victim.kill()
    elif what == "end":
        victim.terminate()
    elif what == "freeze":
        victim.send_signal(signal.SIGSTOP)
        time.sleep(choose.uniform(0.5, 15))
        victim.send_signal(signal.SIGCONT)
    elif what == "cut":
        proxy.cut()
    while sum(one.poll() is None for one in crowd.processes) < 3:
        crowd.start()
    return what


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    url = os.environ["AMQTASK_BROKER_URL"]
    parts = urlsplit(url)
    choose, dues, done = random.Random(given.seed), [], {}
    with tempfile.TemporaryDirectory() as folder, Proxy(parts.hostname or "localhost", parts.port or 5672) as proxy:
        crowd = Crowd(Path(folder), proxy.url(url), every=1.0, heartbeat=5)
        crowd.app.close()
        for _ in range(3):
            crowd.start()
        end = time.monotonic() + given.minutes * 60
        try:
            while time.monotonic() < end:
                time.sleep(choose.uniform(1, 8))
                what = hurt(crowd, proxy, choose)
                done[what] = done.get(what, 0) + 1
                dues += [due for _, due in taken(crowd.app)]
            time.sleep(20)
            dues += [due for _, due in taken(crowd.app)]
            leads, log = crowd.log.count("Leading (pid"), crowd.log
        finally:
            crowd.close()
    twice, missing = judged(dues, 1.0)
    if twice or missing:
        print(log)
        print("twice:", *sorted(due for due in set(dues) if dues.count(due) > 1))
    print(f"seed {given.seed}: {len(dues)} due times, {twice} twice, {missing} left out; {leads} leaders; {done}")
    return int(bool(twice or missing or not dues))


if __name__ == "__main__":
    sys.exit(main())
