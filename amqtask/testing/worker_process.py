"""A worker in processes of its own, for pools that fork: a test process has threads, and must not be forked.

Owns the process and the talk with it, one JSON object per line: the order on its stdin, answers on a pipe of its own
(stdout and stderr are the test's). :mod:`.worker_child` is the other end.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.errors import AmqtaskError, ConfigError
from amqtask.testing.deeds import Deeds

if TYPE_CHECKING:
    from amqtask.testing.vhosts import Vhost
    from amqtask.worker.options import WorkerOptions

_START = 60.0
_ANSWER = 30.0
_MARGIN = 30.0
"""Seconds for starting Python and importing the app, for one answer, and beyond the grace time at the end."""


class WorkerProcess:
    """A running worker process, ready when made. Not thread-safe.

    Args:
        options: of the worker.
        vhost: of the test.
        app_path: where it finds the app.
        overrides: settings of the test.

    Raises:
        ConfigError: there is no path, or the settings can't be handed over.
        AmqtaskError: it does not consume; says why.
    """

    def __init__(
        self, options: WorkerOptions, vhost: Vhost, app_path: str | None, overrides: dict[str, object]
    ) -> None:
        if app_path is None:
            raise ConfigError(
                f"the {options.pool} pool runs in processes of its own, which have to import the app: "
                "let amqtask_app_path be a text such as 'shop.tasks', or choose threads, asyncio or solo"
            )
        order = {
            "app": app_path,
            "options": asdict(options),
            # the broker is this process, maybe: without it there is nothing to wait for
            "settings": {**overrides, "broker_url": vhost.url, "broker_connection_retry_on_startup": False},
            "sys_path": sys.path,
            "ahead": clock.wall() - time.time(),
        }
        self._name, self._grace = options.hostname, options.shutdown_timeout
        self._lock = threading.Lock()
        self._deeds = Deeds()
        self.failure: Exception | None = None
        self._vhost = vhost
        self._start(_line(order))
        self._ask_ready()
        vhost.on_advance.append(self._advance)

    @property
    def pid(self) -> int:
        """Of the worker; its children are others."""
        return self._process.pid

    def stop(self) -> None:
        """End warm, as by SIGTERM.

        Raises:
            AmqtaskError: it had ended before, or does not end.
        """
        self._forget()
        self.deeds()
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(self._grace + _MARGIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AmqtaskError(f"{self._name} did not end, and was killed") from None
        finally:
            self._close()
        if self.failure is None and status:
            self.failure = AmqtaskError(f"{self._name} ended with status {status}; see its log")
        if self.failure is not None:
            raise self.failure

    def kill(self) -> None:
        """SIGKILL; its children die with it."""
        self._forget()
        self._process.kill()
        self._process.wait()
        self._close()

    def deeds(self) -> Deeds:
        """What it has done; after its end, what it told last."""
        answer = self._ask({"do": "deeds"}, _ANSWER)
        if answer is not None:
            self._deeds = Deeds(*answer["deeds"])
        return self._deeds

    # -- inside -----------------------------------------------------------------------------------

    def _start(self, order: str) -> None:
        answers, theirs = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603 -- our own module
                [sys.executable, "-m", "amqtask.testing.worker_child", str(theirs)],
                stdin=subprocess.PIPE,
                pass_fds=(theirs,),
                text=True,
            )
        finally:
            os.close(theirs)
        self._answers = os.fdopen(answers, encoding="utf-8")
        self._tell(order)

    def _ask_ready(self) -> None:
        answer = self._read(_START)
        if answer is None or "error" in answer:
            status = self._process.poll()
            silent = f"is not ready after {_START:g} s" if status is None else f"ends without a word (status {status})"
            why = silent if answer is None else answer["error"]
            self._process.kill()
            self._process.wait()
            self._close()
            raise AmqtaskError(f"{self._name}: {why}")

    def _forget(self) -> None:
        with contextlib.suppress(ValueError):
            self._vhost.on_advance.remove(self._advance)

    def _advance(self, seconds: float) -> None:
        self._ask({"do": "advance", "seconds": seconds}, _ANSWER)

    def _ask(self, question: dict[str, Any], timeout: float) -> dict[str, Any] | None:
        """Ask and wait; None when it has ended."""
        if self._process.stdin is None or self._process.stdin.closed:
            return None
        with self._lock:
            answer = self._read(timeout) if self._tell(_line(question)) else None
        if answer is None and self.failure is None:
            self.failure = AmqtaskError(f"{self._name} has ended, or does not answer; see its log")
        return answer

    def _tell(self, line: str) -> bool:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except BrokenPipeError:
            return False
        return True

    def _read(self, timeout: float) -> dict[str, Any] | None:
        if not select.select([self._answers], [], [], timeout)[0]:
            return None
        line = self._answers.readline()
        answer: dict[str, Any] | None = json.loads(line) if line else None
        return answer

    def _close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._answers.close()


def _line(value: dict[str, Any]) -> str:
    try:
        return json.dumps(value) + "\n"
    except TypeError as error:
        raise ConfigError(
            f"a setting of this test can't be handed to a process: {error}; use threads, asyncio or solo"
        ) from None
