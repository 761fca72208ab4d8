"""Schedulers in threads and processes, and what they have sent. For tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from waiting import wait_for

from amqtask import Amqtask
from amqtask.beat.service import Beat, start_beat
from amqtask.broker.admin import Admin
from amqtask.schedules.records import HEADER

QUEUE = "periodic"
PROGRAM = """\
from amqtask import Amqtask, Queue

app = Amqtask("beats", broker={url!r}, broker_heartbeat={heartbeat}, task_queues=[Queue({queue!r}, type="classic")],
    task_default_queue={queue!r})


@app.periodic(every={every}, name="tick", catchup="all")
@app.task(name="tick")
def tick():
    pass
"""


def new_app(url: str, schedule: dict[str, Any] | None = None, **settings: Any) -> Amqtask:
    from amqtask import Queue

    return Amqtask(
        "beats", broker=url, task_queues=[Queue(QUEUE, type="classic")], task_default_queue=QUEUE,
        beat_schedule=schedule or {}, **settings,
    )  # fmt: skip


@contextmanager
def beating(app: Amqtask) -> Iterator[Beat]:
    """A scheduler in a thread."""
    app.load_tasks()
    beat = start_beat(app)
    thread = threading.Thread(target=beat.run)
    thread.start()
    try:
        yield wait_for(lambda: beat if beat.pulse.connected or not thread.is_alive() else None)
    finally:
        beat.stop()
        thread.join(60)
        assert not thread.is_alive()


def leads(beat: Beat) -> bool:
    return beat.pulse.leading


def taken(app: Amqtask) -> list[tuple[str, float]]:
    """Takes what waits in the queue: entry and due time of each message, in order."""
    found, queue = [], app.settings.task_default_queue
    with Admin(app.broker_urls, app.connection_options) as admin:
        while admin.queue_state(queue) is not None and (message := admin.get(queue)) is not None:
            mark = message.properties.headers[HEADER]
            found.append((mark["entry"], datetime.fromisoformat(mark["due"]).timestamp()))
            admin.ack(message.tag)
    return found


class Crowd:
    """Schedulers as processes, to be hurt."""

    def __init__(self, folder: Path, url: str, every: float = 1.0, heartbeat: int = 2) -> None:
        self._folder = folder
        self.app = new_app(url)
        text = PROGRAM.format(url=url, every=every, queue=QUEUE, heartbeat=heartbeat)
        (folder / "beatapp.py").write_text(text)
        self.processes: list[subprocess.Popen[bytes]] = []
        self._log = (folder / "beats.log").open("ab")

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "amqtask", "beat", "-A", "beatapp"]
        process = subprocess.Popen(
            command, cwd=self._folder, stdout=self._log, stderr=self._log, env={**os.environ, "PYTHONPATH": "."}
        )
        self.processes.append(process)
        return process

    @property
    def log(self) -> str:
        return (self._folder / "beats.log").read_text()

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(60)
        self._log.close()
        self.app.close()


def judged(dues: list[float], every: float) -> tuple[int, int]:
    """How many due times were sent twice, and how many were left out between the first and the last."""
    different = sorted(set(dues))
    wanted = round((different[-1] - different[0]) / every) + 1 if different else 0
    return len(dues) - len(different), wanted - len(different)


def now() -> float:
    return time.time()
