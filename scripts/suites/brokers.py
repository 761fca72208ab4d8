"""The brokers of a run: RabbitMQ nodes that are got ready in the background, and thrown away."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from suites.plan import DEV, OWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SCRIPT = Path(__file__).resolve().parents[1] / "rabbitmq"
UNAVAILABLE = 77
URL = "AMQTASK_BROKER_URL"
OURS = ("AMQTASK_", "BROKER_")
KEPT = ("BROKER_DEBIAN_MIRROR",)


class Ready(NamedTuple):
    """What came of getting a broker ready.

    Attributes:
        environment: that leads the tests to it.
        title: for people.
        problem: why it is not there; None when it is.
        excused: the problem is this machine's, not a failure.
    """

    environment: dict[str, str]
    title: str
    problem: str | None = None
    excused: bool = False


class Brokers:
    """The brokers of one run.

    Args:
        names: all that will be asked for. Their nodes are started at once, one after the other, beside whatever
            else is done: a version that this machine has not yet takes minutes.
        prepare: called before that, for what else has to be installed for tests that need a broker.
    """

    def __init__(self, names: Iterable[str], prepare: Callable[[], None]) -> None:
        self._given = given()
        self._starter = ThreadPoolExecutor(1)
        self._prepared = self._starter.submit(prepare)
        self._nodes: dict[str, Future[Ready]] = {}
        for name in names:
            if name != DEV and not self._is_given(name):
                self._nodes[name] = self._starter.submit(_start, name)

    def _is_given(self, name: str) -> bool:
        return name == OWN and bool(self._given)

    def get(self, name: str) -> Ready:
        """The broker, when it is ready."""
        self._prepared.result()
        if name == DEV:
            return Ready({"AMQTASK_TEST_BROKER": DEV}, "dev")
        if self._is_given(name):
            return Ready(self._given, "given")
        return self._nodes[name].result()

    def drop(self, name: str) -> None:
        """Throw the broker's node away, if it has one."""
        node = self._nodes.pop(name, None)
        if node is not None and not node.cancel():
            state = node.result().environment.get("BROKER_STATE")
            if state:
                subprocess.run([SCRIPT, "stop", "--purge", "--state", state], check=False)

    def close(self) -> None:
        """Throw every node away."""
        for name in list(self._nodes):
            self.drop(name)
        self._starter.shutdown()


def given() -> dict[str, str]:
    """What the environment says about a broker to use; empty when it names none."""
    if URL not in os.environ:
        return {}
    return {name: value for name, value in os.environ.items() if name == URL or name.startswith("BROKER_")}


def bare_environment() -> dict[str, str]:
    """The environment without a broker: settings of the caller's shell are not the tests' business."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OURS) or name in KEPT}


def _start(name: str) -> Ready:
    version = "distribution" if name == OWN else name
    command = [sys.executable, str(SCRIPT), "start", "--temporary", "--version", version]
    done = subprocess.run(command, env=bare_environment(), capture_output=True, text=True, check=False)
    title = "RabbitMQ" if name == OWN else f"RabbitMQ {name}"
    if done.returncode:
        problem = done.stderr.strip().rpartition("rabbitmq: ")[2] or f"exit code {done.returncode}"
        return Ready({}, title, problem, excused=done.returncode == UNAVAILABLE)
    lines = (line.removeprefix("export ").partition("=") for line in done.stdout.splitlines())
    addresses = {key: "".join(shlex.split(value)) for key, _, value in lines}
    title = f"RabbitMQ {addresses.get('BROKER_VERSION', name)}"
    return Ready(addresses | {"AMQTASK_TEST_BROKER": name}, title)
