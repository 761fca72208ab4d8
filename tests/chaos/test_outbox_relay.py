"""Relays of the outbox: killed at the worst moment, two at once, without a broker."""

from __future__ import annotations

import signal
import sqlite3
import threading
from contextlib import closing, contextmanager

import pytest
from nodes import Node
from proxy import Proxy
from publishing import drain

from amqtask import Amqtask
from amqtask.app.outbox import deliver_each
from amqtask.outbox.relay import Relay

pytestmark = pytest.mark.rabbitmq


class Shop:
    """Writes rows as a program beside the relay would, for the app of :mod:`crew`."""

    def __init__(self, site):
        self.path = site.folder / "shop.sqlite"
        site.settings["outbox_url"] = url = f"db+sqlite:///{self.path}"
        self.app = Amqtask("crew", broker=site.url, routing=site.folder / "routing.yaml", outbox_url=url)
        self.store = self.app.outbox_store()
        self.store.create()
        self.database = sqlite3.connect(self.path, timeout=60)

        @self.app.task(name="note")
        def note(label: str) -> None: ...

        self.note = note

    def write(self, *labels):
        with self.database:
            return [self.app.outbox(self.database).delay(self.note, label).id for label in labels]

    def close(self):
        self.database.close()
        self.store.close()
        self.app.close()


@pytest.fixture
def shop(site):
    with closing(Shop(site)) as made:
        yield made


def relay(site, *words, **settings):
    started = site.start("outbox", "relay", "--interval", "0.05", *words, ready=False, **settings)
    started.wait_for_log("Relay of crew ready")
    return started


def test_a_relay_killed_between_confirm_and_deletion_leaves_the_row_to_the_next_one(site, shop):
    (sent,) = shop.write("a")
    shop.database.execute("BEGIN IMMEDIATE")  # rows can be read, and not be deleted
    first = relay(site)
    site.wait_ready("work", 1)
    first.kill()
    shop.database.rollback()
    second = relay(site)
    site.wait_ready("work", 2)
    assert drain(site.url, "work") == {sent: 2}  # a duplicate that can be told by its message id
    assert shop.store.read() == []
    assert second.stop() == 0


@contextmanager
def relay_here(shop):
    """A relay in a thread; yields what ends it."""
    stopped = threading.Event()
    with closing(shop.app.outbox_store()) as store:
        running = Relay(store, lambda messages: deliver_each(shop.app.producer, messages), 0.01)
        thread = threading.Thread(target=running.run, args=(stopped.wait,))
        thread.start()
        try:
            yield stopped
        finally:
            stopped.set()
            thread.join()


def test_two_relays_send_each_row_once_and_in_order_while_one_of_them_ends(site, shop):
    ids = []
    with relay_here(shop) as first, relay_here(shop):
        for number in range(20):
            ids += shop.write(*(f"{number}.{at}" for at in range(15)))
            if number == 10:
                first.set()
        site.wait_ready("work", 300)
    assert list(drain(site.url, "work").items()) == [(one, 1) for one in ids]
    assert shop.store.read() == []


def test_a_relay_without_a_broker_waits_and_ends_when_it_is_told_to(site, shop, broker_node: Node):
    with Proxy("127.0.0.1", broker_node.port) as proxy:
        running = relay(site, url=proxy.url(site.url), broker_confirm_timeout=1.0)
        shop.write("a")
        site.wait_ready("work", 1)
        proxy.refuse()
        proxy.cut()
        shop.write("b")
        running.wait_for_log("The relay waits: ")
        proxy.refuse(False)
        site.wait_ready("work", 2)
        running.wait_for_log("The relay goes on")
        proxy.refuse()
        proxy.cut()
        shop.write("c")
        running.wait_for_log("The relay waits: ", 2)
        assert running.stop(signal.SIGTERM) == 0
    assert len(shop.store.read()) == 1
