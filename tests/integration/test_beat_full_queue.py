"""A periodic task that is due while its queue is full: it outlives the scheduler that sent it."""

from __future__ import annotations

import pytest
from beats import beating, leads
from waiting import wait_for

from amqtask import Amqtask, Queue
from amqtask.broker.admin import Admin
from amqtask.schedules.records import HEADER
from amqtask.wire.message import Outgoing, Properties

pytestmark = pytest.mark.rabbitmq


def test_what_a_full_queue_has_refused_comes_when_there_is_room_whether_or_not_the_scheduler_is_there(
    vhost_url, broker_node, caplog
):
    app = Amqtask(
        "beats",
        broker=vhost_url,
        task_queues=[Queue("small", type="classic", max_length=1)],
        task_default_queue="small",
        beat_schedule={"tick": {"task": "tick", "schedule": 86_400}},
    )
    with Admin(app.broker_urls, app.connection_options) as admin:
        with beating(app) as beat:
            wait_for(lambda: leads(beat))
            admin.publish(Outgoing("", "small", Properties(), b"in the way"))
            app.schedules.run_now("tick")
            wait_for(lambda: "Queue small is full: it gets a periodic task when it has room" in caplog.text)
            wait_for(lambda: beat._channel.unconfirmed == 0)
        assert admin.queue_state("amqtask.delay.to.small") is not None
        if broker_node.is_dev:  # RabbitMQ tries again after three minutes
            admin.purge("small")
            (found,) = wait_for(lambda: [one for one in [admin.get("small")] if one is not None])
            assert found.properties.headers[HEADER]["entry"] == "tick"
            admin.ack(found.tag)
    app.close()
