"""A worker that gives way to another process."""

from __future__ import annotations

import signal
from types import SimpleNamespace

from amqtask import Amqtask
from amqtask.worker.options import Requested, resolve
from amqtask.worker.successor import Launch
from amqtask.worker.worker import Worker


def test_a_signal_that_comes_just_before_it_gives_way_is_handed_on_then():
    app = Amqtask("replaced", broker="amqp://127.0.0.1:1/")
    options = resolve(Requested(pool="threads", concurrency=1), app.topology, app.settings)
    worker, handed_on, warm = Worker(app, options, launch=Launch(["true"], "/")), [], []

    def replaced(pid: int) -> None:
        worker.on_stop = lambda number: handed_on.append((pid, number))

    shutdown = SimpleNamespace(on_begin=lambda: None, warm=lambda: warm.append(True))
    engine = SimpleNamespace(loop=None, shutdown=shutdown, call_soon=lambda _: None)
    worker.engine, worker.on_replaced = engine, replaced
    worker._prepare_restart(engine)
    worker._on_stop(signal.SIGTERM, None)
    assert handed_on == []
    engine.restart.__self__._give_way(4711)
    assert handed_on == [(4711, signal.SIGTERM)]
    assert warm
