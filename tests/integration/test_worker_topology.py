"""How a worker starts, and what it says and which code it ends with when it can't."""

from __future__ import annotations

import re
from contextlib import closing
from urllib.parse import urlsplit

import pika
import pytest
from proxy import Proxy
from waiting import wait_for

pytestmark = pytest.mark.rabbitmq

SOLO = ("-P", "solo", "-Q", "work", "-q")


def fails(site, code: int, *words: str, url: str | None = None, **settings) -> str:
    """Start a worker that can't run; returns what it says."""
    worker = site.worker(*SOLO, *words, ready=False, url=url, **settings)
    assert worker.wait() == code, worker.text()
    text = worker.text()
    assert "Traceback" not in text
    assert "guest:guest" not in text
    assert not worker.survivors()
    return text


def declare(site, queue: str, **arguments: object) -> None:
    """Make a queue by other means than ours."""
    with closing(pika.BlockingConnection(pika.URLParameters(site.url))) as connection:
        connection.channel().queue_declare(queue, durable=True, arguments=arguments)


def test_queue_that_exists_with_other_arguments_ends_the_worker_with_the_difference(site):
    declare(site, "work", **{"x-queue-type": "classic", "x-max-length": 7})
    text = fails(site, 78)
    assert re.search(r"Error: queue 'work' exists with other arguments: \S+ is .+, wanted ", text)


@pytest.mark.parametrize("mode", ["none", "verify"])
def test_missing_queue_that_must_not_be_declared_ends_the_worker_with_a_hint(site, mode):
    text = fails(site, 78, topology_mode=mode)
    assert "no queue 'work" in text
    assert "amqtask topology apply" in text


def test_wrong_password_ends_the_worker_with_77(site):
    parts = urlsplit(site.url)
    url = parts._replace(netloc=f"guest:wrong-secret@{parts.hostname}:{parts.port}").geturl()
    text = fails(site, 77, url=url)
    assert "wrong-secret" not in text
    assert "guest" in text


def test_missing_vhost_ends_the_worker_with_77(site):
    text = fails(site, 77, url=urlsplit(site.url)._replace(path="/nowhere").geturl())
    assert "nowhere" in text


def test_no_broker_ends_the_worker_with_69_when_it_is_not_to_wait(site):
    text = fails(site, 69, url="amqp://guest:guest@127.0.0.1:1/", broker_connection_retry_on_startup="false")
    assert "127.0.0.1:1" in text


def test_no_broker_is_waited_for(site, broker_node):
    with Proxy("127.0.0.1", broker_node.port) as proxy:
        proxy.refuse()
        worker = site.worker("-P", "solo", ready=False, url=proxy.url(site.url))
        worker.wait_for_log("no connection to RabbitMQ")
        assert worker.running
        proxy.refuse(False)
        worker.wait_ready()
        site.send("note", "at last")
        site.wait_done("at last")


def test_a_waiting_worker_without_a_broker_ends_when_told(site):
    worker = site.worker("-P", "prefork", "-c", "1", ready=False, url="amqp://guest:guest@127.0.0.1:1/")
    worker.wait_for_log("no connection to RabbitMQ at 127.0.0.1:1")
    assert worker.stop() == 0


def test_deleted_queue_is_declared_and_consumed_again(site):
    worker = site.worker("-P", "threads", "-c", "2")
    site.send("hold", "running")
    site.wait_event("start", "running")
    site.admin.delete_queue("work")
    worker.wait_for_log("cancelled the consumer of work")
    wait_for(lambda: (site.admin.queue_state("work") or 0) and site.admin.queue_state("work").consumers == 1)
    site.send("note", "after")
    site.wait_done("after")
    site.open_gate()
    site.wait_done("running")
    assert worker.stop() == 0
    assert site.labels("done") == {"after": 1, "running": 1}


def test_deleted_queue_that_must_not_be_declared_is_consumed_once_it_is_back(site):
    declare(site, "work", **{"x-queue-type": "classic"})
    worker = site.worker("-P", "solo", topology_mode="none")
    site.admin.delete_queue("work")
    worker.wait_for_log("(?i)next attempt|again")
    declare(site, "work", **{"x-queue-type": "classic"})
    wait_for(lambda: site.admin.queue_state("work").consumers == 1)
    site.send("note", "after")
    site.wait_done("after")
    assert worker.stop() == 0


def test_deleted_dead_letter_queue_is_declared_for_the_next_dead_letter(site):
    worker = site.worker("-P", "solo")
    site.admin.delete_queue("work.dead")
    site.send("fail", "x")
    site.wait_dead(1)
    assert worker.stop() == 0


def test_consumers_and_connections_survive_a_change_of_the_prefetch(site):
    worker = site.worker("-P", "prefork", "-c", "2")
    labels = [f"n{number}" for number in range(300)]
    for label in labels:
        site.send("note", label)
    site.wait_done(*labels)
    wait_for(lambda: site.admin.queue_state("work").consumers == 1)
    assert worker.count("ready, consuming") == 1
    assert worker.stop() == 0
    assert set(site.labels("done").values()) == {1}
