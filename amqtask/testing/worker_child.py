"""The process of a test's worker: ``python -m amqtask.testing.worker_child FD``, started by :mod:`.worker_process`.

Owns its end of the talk. Everything else is the ordinary worker, signals and end of the process included; it ends too
when nobody listens any more.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from amqtask.app.app import Amqtask
from amqtask.symbols import find_app
from amqtask.testing.clock import MovableClock
from amqtask.testing.deeds import Deeds
from amqtask.worker.options import WorkerOptions
from amqtask.worker.worker import Worker

if TYPE_CHECKING:
    from typing import TextIO


def main(descriptor: int) -> int:
    """Run the worker that the first line of stdin describes; returns the exit code."""
    answers = os.fdopen(descriptor, "w", encoding="utf-8")
    os.set_inheritable(descriptor, False)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    try:
        order = json.loads(sys.stdin.readline())
        sys.path[:] = order["sys_path"]
        moving = MovableClock(order["ahead"])
        moving.install()  # before the fork: children share it
        app = find_app(order["app"], Amqtask)
        options = order["options"]
        options["queues"] = tuple((name, weight) for name, weight in options["queues"])
        with app.rebound(**order["settings"]):
            worker = Worker(app, WorkerOptions(**options), on_ready=lambda: _listen(worker, moving, answers))
            return worker.run()
    except Exception as error:
        _tell(answers, {"error": f"{type(error).__name__}: {error}"})
        return 1


def _listen(worker: Worker, moving: MovableClock, answers: TextIO) -> None:
    """Ready: say so, and answer from now on. Called on the I/O thread, after each reconnect too."""
    if not any(thread.name == "amqtask-test" for thread in threading.enumerate()):
        _tell(answers, {"ready": True})
        threading.Thread(target=_answer, args=(worker, moving, answers), name="amqtask-test", daemon=True).start()


def _answer(worker: Worker, moving: MovableClock, answers: TextIO) -> None:
    for line in sys.stdin:
        question: dict[str, Any] = json.loads(line)
        if question["do"] == "advance":
            moving.advance(question["seconds"])
            _tell(answers, {"ok": True})
        else:
            engine = worker.engine
            deeds = Deeds() if engine is None else Deeds.of(engine.custody.counts, engine.custody.busy)
            _tell(answers, {"deeds": deeds})
    os.kill(os.getpid(), signal.SIGQUIT)  # the test is gone


def _tell(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
