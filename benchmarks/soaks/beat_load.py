"""What a scheduler costs: whether it grows over many ticks, and what ten thousand entries take.

    python benchmarks/soaks/beat_load.py ticks --count 100000
    python benchmarks/soaks/beat_load.py ticks --count 100000 --django
    python benchmarks/soaks/beat_load.py entries --count 10000 --minutes 2

Uses the broker of AMQTASK_BROKER_URL (scripts/rabbitmq start --temporary gives one). ``--django`` (Django has to be
installed) runs it in a project with DEBUG on, whose every periodic task is looked up in a database before it is sent;
Django then remembers the last 9,000 queries of a connection.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from amqtask.broker.admin import Admin
from beats import QUEUE, new_app

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM = """\
{before}
from amqtask import Amqtask, Queue, signals

app = Amqtask("beats", broker={url!r}, task_queues=[Queue({queue!r}, type="classic")], task_default_queue={queue!r})
app.conf.beat_schedule = {{f"entry {{number}}": {{"task": "tick", **{entry!r}}} for number in range({count})}}


@app.task(name="tick")
def tick():
    pass
{after}
"""
DJANGO = """\
import django
from django.conf import settings

settings.configure(
    DEBUG=True,
    INSTALLED_APPS=["django.contrib.contenttypes"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "project.sqlite"}},
)
django.setup()
from django.core.management import call_command

call_command("migrate", verbosity=0)
"""
QUERIES = """

@signals.before_task_publish.connect
def look(**_):
    from django.contrib.contenttypes.models import ContentType

    assert ContentType.objects.filter(model__contains="type").count() == 1
"""
_AT_ONCE = 20
"""Entries whose ticks are counted; each is due ten times a second."""
_LATE = re.compile(r"Sent .* (\d+) ms late")


class Scheduler:
    """One as a process, with the queue that it sends to."""

    def __init__(self, folder: Path, program: str) -> None:
        (folder / "loadapp.py").write_text(program)
        self.path = folder / "log"
        self.app = new_app(os.environ["AMQTASK_BROKER_URL"])
        self._admin = Admin(self.app.broker_urls, self.app.connection_options)
        with self.path.open("wb") as log:
            command = [sys.executable, "-m", "amqtask", "beat", "-A", "loadapp", "-l", "info"]
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", os.environ.get("PYTHONPATH", "")])}
            self._process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)
        self.watched = psutil.Process(self._process.pid)

    def emptied(self) -> int:
        """Throw away what it has sent; how much that was."""
        return self._admin.purge(QUEUE)

    def until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end or self._process.poll() is not None:
                raise TimeoutError(self.path.read_text()[-3000:])
            time.sleep(0.2)

    def leads(self) -> bool:
        return "Leading (pid" in self.path.read_text()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._admin.close()
        self.app.close()


def ticks(folder: Path, count: int, *, django: bool) -> bool:
    """Whether its memory stays within 5 MB, once a fifth of the ticks is over."""
    entry = {"schedule": 0.1}
    program = PROGRAM.format(
        before=DJANGO if django else "", after=QUERIES if django else "", url=os.environ["AMQTASK_BROKER_URL"],
        queue=QUEUE, entry=entry, count=_AT_ONCE,
    )  # fmt: skip
    scheduler = Scheduler(folder, program)
    sent, sizes, begun = 0, [], time.monotonic()
    try:
        scheduler.until(scheduler.leads, 30)
        while sent < count:
            time.sleep(1)
            sent += scheduler.emptied()
            resident = scheduler.watched.memory_info().rss / 2**20
            if sent > count / 5:
                sizes.append(resident)
            if time.monotonic() - begun > count / 20 + 60:
                raise TimeoutError(scheduler.path.read_text()[-3000:])
    finally:
        scheduler.close()
    grown = sizes[-1] - sizes[0]
    print(
        f"{sent} ticks{' with Django, DEBUG on' if django else ''}: {sizes[0]:.1f} MB after a fifth of them, "
        f"{sizes[-1]:.1f} MB at the end, {min(sizes):.1f} to {max(sizes):.1f} between"
    )
    return abs(grown) <= 5 and max(sizes) - min(sizes) <= 10


def entries(folder: Path, count: int, minutes: float) -> bool:
    """CPU while none of them is due, and lateness while all of them are due once a minute."""
    quiet, _ = _cpu(folder, count, {"schedule": "0 0 29 2 *"}, 5, minutes)
    print(f"{count} entries, none due: {quiet:.2f} % of a core")
    busy = {"schedule": 60.0, "jitter": 60.0}  # spread over the minute
    used, late = _cpu(folder, count, busy, 65, minutes)  # none is due in the first minute
    p99 = late[int(len(late) * 0.99)] if late else -1
    print(
        f"{count} entries, each due once a minute: {len(late)} sent, {used:.1f} % of a core, lateness "
        f"{late[len(late) // 2]} ms median, {p99} ms p99, {late[-1]} ms longest"
    )
    return quiet < 1 and 0 <= p99 < 50


def _cpu(folder: Path, count: int, entry: dict[str, object], settle: float, minutes: float) -> tuple[float, list[int]]:
    """Percent of a core that a scheduler with such entries takes, and the milliseconds its tasks were late, in order.

    Args:
        folder: for its program and log.
        count: of entries.
        entry: each of them.
        settle: seconds between the begin of its lead and what is counted.
        minutes: that are counted.
    """
    url = os.environ["AMQTASK_BROKER_URL"]
    program = PROGRAM.format(before="", after="", url=url, queue=QUEUE, entry=entry, count=count)
    scheduler = Scheduler(folder, program)
    try:
        scheduler.until(scheduler.leads, 120)
        time.sleep(settle)
        size = scheduler.path.stat().st_size
        before, begun = scheduler.watched.cpu_times(), time.monotonic()
        end = begun + minutes * 60
        while time.monotonic() < end:
            time.sleep(1)
            scheduler.emptied()
        after = scheduler.watched.cpu_times()
        used = after.user + after.system - before.user - before.system
        late = sorted(int(found) for found in _LATE.findall(scheduler.path.read_text()[size:]))
        return 100 * used / (time.monotonic() - begun), late
    finally:
        scheduler.close()
        with Admin(scheduler.app.broker_urls, scheduler.app.connection_options) as admin:
            admin.delete_queue("amqtask.beat.beats")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("ticks", "entries"))
    parser.add_argument("--count", type=int, help="ticks, 100,000 by default; or entries, 10,000")
    parser.add_argument("--minutes", type=float, default=2, help="of entries, for each of two figures")
    parser.add_argument("--django", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.what == "ticks":
            return int(not ticks(Path(folder), given.count or 100_000, django=given.django))
        return int(not entries(Path(folder), given.count or 10_000, given.minutes))


if __name__ == "__main__":
    sys.exit(main())
