"""A scheduler whose wall clock is set forwards and backwards, as for a machine that was suspended: no burst, no gap.

    python benchmarks/soaks/clock.py [--freeze 60]

Needs libfaketime (Debian: libfaketime). Uses the broker of AMQTASK_BROKER_URL (scripts/rabbitmq start --temporary gives
one). ``--freeze`` stops the scheduler and that broker's node for so many seconds, on real clocks, as a suspension does.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from amqtask.broker.admin import Admin
from amqtask.schedules.records import HEADER
from beats import QUEUE, new_app

if TYPE_CHECKING:
    from amqtask import Amqtask

PROGRAM = """\
from amqtask import Amqtask, Queue

EVERY = {{"task": "tick", "schedule": 1.0}}
app = Amqtask("beats", broker={url!r}, task_queues=[Queue({queue!r}, type="classic")], task_default_queue={queue!r})
app.conf.beat_schedule = {{
    "none": {{**EVERY, "catchup": "none", "deadline": 5}},
    "one": EVERY,
    "all": {{**EVERY, "catchup": "all", "deadline": 30}},
    "cron": {{"task": "tick", "schedule": "* * * * * *"}},
}}
"""
NAMES = ("none", "one", "all", "cron")
JUMPS = (3600.0, 1.5, -600.0, 86_400.0, -7200.0)
SETTLE = 8.0
"""Seconds watched after each jump."""


def library() -> str:
    """Path of libfaketime, the one for programs with threads."""
    for path in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"):
        return str(path)
    sys.exit("libfaketime is not installed: apt-get install libfaketime")


class Watched:
    """One scheduler as a process, and what it has sent."""

    def __init__(self, folder: Path, url: str) -> None:
        (folder / "clockapp.py").write_text(PROGRAM.format(url=url, queue=QUEUE))
        self._stamp, self._log = folder / "offset", folder / "log"
        self.set(0.0)
        self.app: Amqtask = new_app(url)
        environment = {
            **os.environ,
            "PYTHONPATH": ".",
            "LD_PRELOAD": library(),
            "FAKETIME_TIMESTAMP_FILE": str(self._stamp),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        with self._log.open("wb") as log:
            command = [sys.executable, "-m", "amqtask", "beat", "-A", "clockapp"]
            self.process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)

    def set(self, offset: float) -> None:
        """Set its clock to so many seconds from the real one."""
        beside = self._stamp.with_name("offset.new")
        beside.write_text(f"{offset:+.1f}\n")
        beside.replace(self._stamp)

    def taken(self) -> dict[str, list[float]]:
        """Due times of what it has sent since the last call, by entry."""
        found: dict[str, list[float]] = {name: [] for name in NAMES}
        with Admin(self.app.broker_urls, self.app.connection_options) as admin:
            while admin.queue_state(QUEUE) is not None and (message := admin.get(QUEUE)) is not None:
                mark = message.properties.headers[HEADER]
                found[mark["entry"]].append(datetime.fromisoformat(mark["due"]).timestamp())
                admin.ack(message.tag)
        return found

    def close(self) -> str:
        """End it; what it has logged."""
        self.process.terminate()
        self.process.wait(20)
        self.app.close()
        return self._log.read_text()


def wrong(sent: dict[str, list[float]], jump: float, seconds: float) -> list[str]:
    """What a jump of its clock must not have brought.

    Args:
        sent: due times from the jump on.
        jump: seconds.
        seconds: since then.
    """
    found = []
    usual = seconds + 3
    most = {"none": usual + 5, "one": usual, "all": usual + 30, "cron": usual}
    if -3600 < jump < 0:
        most["cron"] = 3  # times of the day that have been are not run again
    for name, dues in sent.items():
        if len(dues) > most[name]:
            found.append(f"{name}: a burst of {len(dues)}")
        if len(dues) < seconds - 3 and not (name == "cron" and most["cron"] == 3):
            found.append(f"{name}: a gap, {len(dues)} only")
        if len(set(dues)) < len(dues):
            found.append(f"{name}: twice the same")
    return found


def freeze(watched: Watched, seconds: float) -> None:
    """Stop the scheduler and the broker's processes for so long."""
    state = os.environ.get("BROKER_STATE", "")
    nodes = [one for one in psutil.process_iter(["cmdline"]) if state and state in " ".join(one.info["cmdline"] or ())]
    if not any("beam" in (one.info["cmdline"] or [""])[0] for one in nodes):
        sys.exit("--freeze needs a node of one's own: eval $(scripts/rabbitmq start --temporary)")
    for one in nodes:
        one.send_signal(signal.SIGSTOP)
    watched.process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    for one in nodes:
        one.send_signal(signal.SIGCONT)
    watched.process.send_signal(signal.SIGCONT)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--freeze", type=float, default=0.0, metavar="SECONDS")
    given = parser.parse_args()
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        watched = Watched(Path(folder), os.environ["AMQTASK_BROKER_URL"])
        try:
            time.sleep(SETTLE)
            begun = watched.taken()
            print("at first:", {name: len(dues) for name, dues in begun.items()})
            offset = 0.0
            for jump in JUMPS:
                offset += jump
                watched.set(offset)
                failures += judge(watched, f"clock set by {jump:+g} s", jump, SETTLE)
            if given.freeze:
                freeze(watched, given.freeze)
                failures += judge(watched, f"all stopped for {given.freeze:g} s", given.freeze, SETTLE * 2)
        finally:
            log = watched.close()
    if failures:
        print(*(line for line in log.splitlines() if ": INFO" not in line), sep="\n")
    return int(bool(failures))


def judge(watched: Watched, what: str, jump: float, seconds: float) -> list[str]:
    """Wait, look at what was sent, print it."""
    time.sleep(seconds)
    sent = watched.taken()
    found = wrong(sent, jump, seconds)
    print(f"{what}, {seconds:g} s later:", {name: len(dues) for name, dues in sent.items()}, *found)
    return found


if __name__ == "__main__":
    sys.exit(main())
