"""Runs a pool of the worker without broker: a real loop in a thread, a list of outcomes, published messages kept."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Self

from amqtask.broker.pika_driver import new_loop
from amqtask.execution.job import Job, Outcome
from amqtask.wire.codec import encode, serializers
from amqtask.wire.ids import new_id
from amqtask.wire.message import Outgoing, TaskMessage
from amqtask.worker.pools.base import Pool, PoolHost, pools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from amqtask.app.app import Amqtask
    from amqtask.broker.interface import PublishDone

DEADLINE = 60.0


def job_for(key: int, task: str, *args: Any, headers: dict[str, Any] | None = None, **fields: Any) -> Job:
    """A job as the worker makes it of a delivery."""
    message = TaskMessage(task, new_id(), args, **fields)
    properties, body = encode(message, serializer=serializers.get("msgpack"))
    return Job(
        key=key,
        queue="amqtask",
        exchange="",
        routing_key="amqtask",
        redelivered=False,
        deliveries=0,
        content_type=properties.content_type,
        content_encoding=properties.content_encoding,
        correlation_id=message.id,
        reply_to=None,
        message_id=None,
        priority=None,
        headers={**(properties.headers or {}), **(headers or {})},
        body=body,
    )


class Bench:
    """A started pool; use as a context manager. Jobs wait here until the pool has room.

    Args:
        app: its tasks.
        pool: name of the pool.
        concurrency: its slots.
        main: its main thread is that of the process, as in a worker: everything happens inside :meth:`play`.
    """

    def __init__(self, app: Amqtask, pool: str, concurrency: int = 2, *, main: bool = False) -> None:
        self._main = main
        self.restarts: list[str] = []
        self.outcomes: dict[int, Outcome] = {}
        self.lost: list[tuple[list[int], list[int], str]] = []
        self.failed: list[str] = []
        self.published: list[Outgoing] = []
        self.publish_error: Exception | None = None
        self.loop = new_loop()
        self.host = PoolHost(
            app=app,
            hostname="w1@here",
            concurrency=concurrency,
            loop=self.loop,
            done=self._on_done,
            lost=self._on_lost,
            publish=self._publish,
            log_results=True,
        )
        self.host.failed = self.failed.append
        self.host.restart = self.restarts.append
        self.pool: Pool = pools.get(pool)(self.host)
        self._app = app
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self.pool.prepare()
        self._threads = [threading.Thread(target=self.loop.run, name="io")]
        if not self._main:
            self._threads.append(threading.Thread(target=self.pool.run_main, name="main-stand-in"))
        for thread in self._threads:
            thread.start()
        self.on_loop(self.pool.start)
        return self

    def __exit__(self, *_: object) -> None:
        self.on_loop(self.pool.terminate)
        self.on_loop(self.pool.release_main)
        self.loop.call_soon_threadsafe(self.loop.stop)
        for thread in self._threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()
        self.loop.close()
        self._app.use_transport(None)

    def play(self, scenario: Callable[[], None]) -> None:
        """Do this in a thread while the main thread belongs to the pool; its failure is raised here."""
        problems: list[BaseException] = []

        def act() -> None:
            try:
                scenario()
            except BaseException as problem:
                problems.append(problem)
            finally:
                self.on_loop(self.pool.release_main)

        thread = threading.Thread(target=act, name="scenario")
        thread.start()
        self.pool.run_main()
        thread.join(DEADLINE)
        if problems:
            raise problems[0]

    def on_loop(self, call: Callable[[], Any]) -> Any:
        """Call on the I/O thread and wait for the result."""
        finished = threading.Event()
        result: list[Any] = []

        def run() -> None:
            try:
                result.append(call())
            finally:
                finished.set()

        self.loop.call_soon_threadsafe(run)
        assert finished.wait(DEADLINE)
        return result[0]

    def submit(self, *jobs: Job) -> None:
        """Queue jobs for the pool."""

        def queue() -> None:
            self._waiting.extend(jobs)
            self._pump()

        self.loop.call_soon_threadsafe(queue)

    def run(self, *jobs: Job) -> list[Outcome]:
        """Submit and wait for the outcomes."""
        self.submit(*jobs)
        self.wait(lambda: all(job.key in self.outcomes for job in jobs))
        return [self.outcomes[job.key] for job in jobs]

    def wait(self, condition: Callable[[], object], deadline: float = DEADLINE) -> None:
        """Until the condition holds; looked at whenever something is reported, and now and then."""
        end = time.monotonic() + deadline
        while not condition():  # without the lock: it may ask the I/O thread, which reports meanwhile
            assert time.monotonic() < end, "the condition did not come true"
            with self._changed:
                self._changed.wait(0.02)

    def _pump(self) -> None:
        while self._waiting and self.pool.free() > 0:
            self.pool.submit(self._waiting.popleft())
        self.pool.flush()

    def _on_done(self, outcomes: Iterable[Outcome]) -> None:
        with self._changed:
            for outcome in outcomes:
                assert outcome.key not in self.outcomes, "reported twice"
                self.outcomes[outcome.key] = outcome
            self._changed.notify_all()
        self._pump()

    def _on_lost(self, blamed: Sequence[int], innocent: Sequence[int], reason: str) -> None:
        with self._changed:
            self.lost.append((list(blamed), list(innocent), reason))
            self._changed.notify_all()
        self._pump()

    def _publish(self, message: Outgoing, timeout: float, done: PublishDone) -> None:
        self.published.append(message)
        self.loop.call_later(0.001, lambda: done(self.publish_error))  # type: ignore[arg-type]
