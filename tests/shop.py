"""A small app with two queues, for tests of everything above the broker."""

from __future__ import annotations

from amqtask import Amqtask, Exchange, Queue, Route
from amqtask.wire.codec import decode


def make_shop(transport, **settings):
    app = Amqtask(
        "shop",
        task_queues=[
            Queue("emails", Exchange("tasks", "topic"), routing_key="email.#", max_priority=9),
            Queue("plain"),
        ],
        task_routes=[
            Route("mail.*", exchange="tasks", routing_key="email.send", priority=7),
            Route("plain.*", queue="plain"),
        ],
        **settings,
    )
    app.use_transport(transport)
    return app


def task_of(app, name="plain.add", **options):
    @app.task(name=name, **options)
    def add(a, b=2):
        return a + b

    return add


def read(message):
    return decode(message.properties, message.body, ["msgpack", "json", "yaml"])
