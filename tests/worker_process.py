"""A place where workers run as processes of their own: a folder, a vhost, a sender, and what became of the tasks.

    with new_site(node, folder) as site:
        worker = site.worker("-Q", "work", "-P", "threads")
        site.send("note", "a")
        site.wait_done("a")
        assert worker.stop() == 0

Every process that was started is gone when the site closes, children included.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import psutil
from waiting import wait_for

from amqtask import Amqtask
from amqtask.app.dead import DeadLetters, DeadMessage
from amqtask.broker.admin import Admin
from amqtask.broker.interface import ConnectionOptions
from amqtask.broker.url import parse_urls
from amqtask.wire.message import Outgoing, Properties

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodes import Node

ROUTING = """\
version: 1
defaults:
  queue: {type: classic}
queues:
  work: {}
routes:
  - {task: "*", queue: work}
"""

OPTIONS = ConnectionOptions(name="test", heartbeat=30, connect_timeout=5.0)
START = 60.0
"""Seconds a worker may take to be ready on a machine that is busy with other things."""


class Event(NamedTuple):
    """A line that a task of :mod:`crew` wrote."""

    event: str
    label: str
    at: float
    pid: int
    more: dict[str, Any]


class WorkerProcess:
    """A running ``python -m amqtask``; its output goes to ``log``, a file."""

    def __init__(self, words: tuple[str, ...], folder: Path, log: Path, env: dict[str, str]) -> None:
        self.log = log
        self._family: set[psutil.Process] = set()
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "amqtask", *words],
                cwd=folder,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def text(self) -> str:
        """Everything it has written so far."""
        return self.log.read_text(errors="replace")

    def count(self, pattern: str) -> int:
        """How often a regular expression matches its output."""
        return len(re.findall(pattern, self.text()))

    def wait_for_log(self, pattern: str, times: int = 1, timeout: float = START) -> None:
        """Wait until the output matches that often; fails at once when the process has ended without."""

        def matched() -> bool:
            ended = not self.running
            found = self.count(pattern) >= times
            assert found or not ended, f"ended with {self.process.returncode}:\n{self.text()}"
            return found

        try:
            wait_for(matched, timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\nno {pattern!r} in:\n{self.text()}") from None

    def wait_ready(self, times: int = 1) -> None:
        """Wait until it consumes (for the Nth time)."""
        self.wait_for_log(r" ready, consuming ", times)
        self.family()

    def family(self) -> set[psutil.Process]:
        """Its descendants, those it had when last asked included."""
        with suppress(psutil.NoSuchProcess):
            self._family |= set(psutil.Process(self.pid).children(recursive=True))
        return self._family

    def survivors(self, timeout: float = 30.0) -> list[psutil.Process]:
        """Descendants that still run some seconds after their parent's end; should be none."""
        deadline = time.monotonic() + timeout
        while (alive := [one for one in self._family if _runs(one)]) and time.monotonic() < deadline:
            time.sleep(0.02)
        return alive

    def send_signal(self, number: signal.Signals) -> None:
        self.family()
        self.process.send_signal(number)

    def wait(self, timeout: float = START) -> int:
        """Wait for its end and return the exit code."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"runs on after {timeout:g} s:\n{self.text()}") from None

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = START) -> int:
        """End it with a signal; returns the exit code, and fails when a child survives it."""
        self.send_signal(number)
        code = self.wait(timeout)
        assert not self.survivors(), f"processes left over:\n{self.text()}"
        return code

    def kill(self) -> None:
        """SIGKILL, to the worker itself only."""
        self.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """End it by force with everything it has started."""
        self.family()
        if self.running:
            self.process.kill()
        self.process.wait()
        for one in self._family:
            try:
                one.kill()
            except psutil.NoSuchProcess:
                continue


def whole_lines(path: Path) -> list[str]:
    """The lines of a file that processes append to; without one that is just being written."""
    return path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []


class Site:
    """A vhost and a folder with a routing file; starts workers of :mod:`crew` and sends them tasks.

    Args:
        folder: empty; becomes the current folder of the workers.
        url: of the vhost.
        routing: text of routing.yaml.
        settings: for the workers, in lower case.
    """

    def __init__(self, folder: Path, url: str, routing: str = ROUTING, **settings: Any) -> None:
        self.folder, self.url, self.settings = folder, url, settings
        self._runs = folder / "runs"
        self._workers: list[WorkerProcess] = []
        self._admin: Admin | None = None
        self._app: Amqtask | None = None
        self.route(routing)

    def route(self, routing: str) -> None:
        """Write routing.yaml anew; for workers and for what is sent from here from now on."""
        (self.folder / "routing.yaml").write_text(routing)
        self.app_close()

    @property
    def app(self) -> Amqtask:
        """The sender."""
        if self._app is None:
            self._app = Amqtask(
                "sender", broker=self.url, routing=self.folder / "routing.yaml", broker_confirm_timeout=60.0
            )
        return self._app

    def app_close(self) -> None:
        if self._app is not None:
            self._app.close()
            self._app = None

    @property
    def admin(self) -> Admin:
        if self._admin is None:
            self._admin = Admin(parse_urls(self.url), OPTIONS)
        return self._admin

    def admin_close(self) -> None:
        """Before a broker ends; the next look connects again."""
        if self._admin is not None:
            self._admin.close()

    # -- processes --------------------------------------------------------------------------------

    def worker(self, *words: str, ready: bool = True, url: str | None = None, **settings: Any) -> WorkerProcess:
        """Start ``amqtask worker -A crew``; returns when it consumes."""
        return self.start("worker", *words, ready=ready, url=url, **settings)

    def start(self, *words: str, ready: bool = True, url: str | None = None, **settings: Any) -> WorkerProcess:
        """Start a command; settings become environment variables."""
        given = {**self.settings, **settings}
        env = {f"AMQTASK_{name.upper()}": str(value) for name, value in given.items() if name.islower()}
        env |= {name: str(value) for name, value in given.items() if name.isupper()}
        env |= {
            "AMQTASK_BROKER_URL": url or self.url,
            "AMQTASK_APP": "crew",
            "CREW_RUNS": str(self._runs),
            "PYTHONPATH": str(Path(__file__).parent),
            "PYTHONFAULTHANDLER": "",
        }
        log = self.folder / f"process-{len(self._workers)}.log"
        worker = WorkerProcess(words, self.folder, log, env)
        self._workers.append(worker)
        if ready:
            worker.wait_ready()
        return worker

    def close(self) -> None:
        for worker in self._workers:
            worker.close()
        self.app_close()
        self.admin_close()

    # -- messages ---------------------------------------------------------------------------------

    def send(self, task: str, *args: Any, **options: Any) -> str:
        """Send a task by name, to the queue ``work`` unless another is named; returns its id."""
        options.setdefault("queue", "work")
        return self.app.send_task(task, args, **options).id

    def put(self, queue: str, body: bytes, properties: Properties) -> None:
        """Publish a message of any shape."""
        self.admin.publish(Outgoing("", queue, properties, body))

    def open_gate(self, label: str | None = None) -> None:
        """Let the tasks of a label go on, or all."""
        (self.folder / ("gate" if label is None else f"gate.{label}")).touch()

    # -- what became of them ----------------------------------------------------------------------

    def events(self, event: str | None = None, label: str | None = None) -> list[Event]:
        """What tasks wrote, in order."""
        lines = [json.loads(line) for line in whole_lines(self._runs)]
        events = [Event(*(line.pop(name) for name in Event._fields[:4]), more=line) for line in lines]
        return [one for one in events if event in (None, one.event) and label in (None, one.label)]

    def labels(self, event: str) -> Counter[str]:
        """How often each label had this event."""
        return Counter(one.label for one in self.events(event))

    def wait_event(self, event: str, *labels: str, timeout: float = 60.0) -> None:
        """Wait until each label had this event."""

        def written() -> bool:
            idle = bool(self._workers) and not any(worker.running for worker in self._workers)
            found = set(labels) <= self.labels(event).keys()
            assert found or not idle, "no worker is left"
            return found

        self._wait(written, timeout)

    def wait_done(self, *labels: str, timeout: float = 60.0) -> None:
        """Wait until the tasks of these labels are done."""
        self.wait_event("done", *labels, timeout=timeout)

    def ready(self, queue: str) -> int:
        """Messages that wait in a queue; 0 where there is none."""
        state = self.admin.queue_state(queue)
        return 0 if state is None else state.ready

    def wait_ready(self, queue: str, count: int, timeout: float = 60.0) -> None:
        """Wait until so many messages wait in a queue."""
        self._wait(lambda: self.ready(queue) == count, timeout, lambda: f"{self.ready(queue)} in {queue}")

    def dead(self, queue: str = "work") -> list[DeadMessage]:
        """The dead letters of a queue, which stay."""
        found = list(DeadLetters(self.admin, queue).read())
        self._wait(lambda: self.ready(f"{queue}.dead") >= len(found), 60.0)  # they return in their own time
        return found

    def wait_dead(self, count: int, queue: str = "work", timeout: float = 60.0) -> list[DeadMessage]:
        """Wait until there are so many dead letters, and return them."""
        self.wait_ready(f"{queue}.dead", count, timeout)
        return self.dead(queue)

    def _wait(self, condition: Any, timeout: float, state: Any = None) -> None:
        try:
            wait_for(condition, timeout)
        except AssertionError as error:
            tails = "\n".join(f"== {worker.log.name}\n{worker.text()[-6000:]}" for worker in self._workers)
            detail = state() if state else f"{self.labels('start')} {self.labels('done')}"
            raise AssertionError(f"{error}\n{detail}\n{tails}") from None


@contextmanager
def new_site(node: Node, folder: Path, routing: str = ROUTING, **settings: Any) -> Iterator[Site]:
    """A site on a vhost of its own."""
    vhost = f"test-{uuid4().hex[:12]}"
    url = node.add_vhost(vhost)
    site = Site(folder, url, routing, **settings)
    try:
        yield site
    finally:
        site.close()
        node.delete_vhost(vhost)


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
