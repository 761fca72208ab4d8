"""The dev broker's engine without its protocol: a vhost on a clock that only tests move, and consumers that note."""

from __future__ import annotations

from types import SimpleNamespace

from pamqp.commands import Basic
from pamqp.header import ContentHeader

from amqtask.testing.devbroker.engine.memory import Memory
from amqtask.testing.devbroker.engine.message import Message
from amqtask.testing.devbroker.engine.scheduler import Scheduler
from amqtask.testing.devbroker.engine.vhost import VHost

QUORUM = {"x-queue-type": "quorum"}


def content_header(body=b"", **properties):
    return ContentHeader(0, len(body), Basic.Properties(**properties)).marshal()


def properties(message):
    header = ContentHeader()
    header.unmarshal(message.header)
    return header.properties


class Subscriber:
    """A consumer with room for ``prefetch`` messages (None: any number); settles when told."""

    def __init__(self, queue, *, prefetch=None, priority=0, exclusive=False, no_ack=False, tag="t"):
        self.queue, self.prefetch, self.tag = queue, prefetch, tag
        self.priority, self.exclusive, self.no_ack, self.timeout = priority, exclusive, no_ack, None
        self.got = []  # messages as they were delivered
        self.unsettled = []
        self.is_cancelled = False
        queue.add_consumer(self)

    @property
    def ready(self):
        return self.prefetch is None or len(self.unsettled) < self.prefetch

    def deliver(self, entry):
        self.got.append(entry.message)
        if not self.no_ack:
            self.unsettled.append(entry)

    def cancelled(self):
        self.is_cancelled = True

    @property
    def bodies(self):
        return [message.body.decode() for message in self.got]

    def ack(self, index=0):
        self.queue.ack(self.unsettled.pop(index))
        self.queue.pump()

    def reject(self, index=0, *, failed=True):
        self.queue.reject(self.unsettled.pop(index), failed=failed)
        self.queue.pump()

    def requeue(self, *indexes, failed=False):
        entries = [self.unsettled[index] for index in indexes or range(len(self.unsettled))]
        self.unsettled = [entry for entry in self.unsettled if entry not in entries]
        self.queue.requeue(entries, failed=failed)

    def leave(self):
        """As when its channel is closed."""
        entries, self.unsettled, self.prefetch = self.unsettled, [], 0
        self.queue.remove_consumer(self)
        self.queue.requeue(entries, failed=True)


class Bench:
    """A vhost ``/`` and what tests do to it; ``bench.advance`` is the only thing that moves time."""

    def __init__(self, memory_limit=None):
        self.time = SimpleNamespace(now=1000.0)
        self.scheduler = Scheduler(lambda: self.time.now)
        self.memory = Memory(memory_limit)
        self.vhost = VHost("/", self.scheduler, self.memory)
        self.me = object()

    def advance(self, seconds):
        self.scheduler.advance(seconds)

    def queue(self, name, durable=True, **options):
        arguments = {key.replace("_", "-"): value for key, value in options.items()}
        kind = arguments.pop("quorum", False)
        arguments = {key if key.startswith("x-") else f"x-{key}": value for key, value in arguments.items()}
        return self.vhost.queue_declare(
            name, self.me, durable=durable, arguments={**(QUORUM if kind else {}), **arguments}
        )

    def declare(self, name, **flags):
        return self.vhost.queue_declare(name, self.me, **flags)

    def publish(self, key, *bodies, exchange="", **fields):
        routed = [
            self.vhost.publish(Message(exchange, key, content_header(body.encode(), **fields), body.encode()))
            for body in bodies or ("x",)
        ]
        return routed[-1]

    def take(self, name, no_ack=True):
        """The next message of a queue, None when it is empty."""
        got = self.vhost.queues[name].get(no_ack)
        return None if got is None else got[0].message

    def bodies(self, name):
        """Everything that waits in a queue, which is empty then."""
        taken = []
        while (message := self.take(name)) is not None:
            taken.append(message.body.decode())
        return taken

    def headers(self, name):
        """The headers of the next message of a queue."""
        message = self.take(name)
        assert message is not None
        return properties(message).headers
