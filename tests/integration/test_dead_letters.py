"""Dead letters that no worker has seen: the broker made them, of what other clients sent."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter

import pika
from publishing import declare
from raw_properties import Raw
from waiting import wait_for

from amqtask.app.dead import DeadLetters
from amqtask.broker.admin import Admin
from amqtask.broker.interface import ConnectionOptions
from amqtask.broker.url import parse_urls

HEADERS, CONTENT_TYPE, TIMESTAMP = 1 << 13, 1 << 15, 1 << 6
NAMED = b"\x01\xffS" + (1).to_bytes(4) + b"a"
DEEP = functools.reduce(lambda value, _: b"F" + (len(value) + 2).to_bytes(4) + b"\x01k" + value, range(300), b"V")
STRANGE = {
    "a header's name that is no UTF-8": (HEADERS, len(NAMED).to_bytes(4) + NAMED),
    "the same inside of a header": (
        HEADERS,
        (len(NAMED) + 7).to_bytes(4) + b"\x01hF" + len(NAMED).to_bytes(4) + NAMED,
    ),
    "tables in tables": (HEADERS, (len(DEEP) + 2).to_bytes(4) + b"\x01h" + DEEP),
    "a text that is no UTF-8": (CONTENT_TYPE, b"\x01\xff"),
    "a time in the far future": (TIMESTAMP, b"\xff" * 8),
}


def test_a_replay_does_not_stop_at_what_other_clients_send(vhost_url):
    declare(vhost_url, "work", "work.dead")
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(vhost_url))) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for name, (flags, data) in STRANGE.items():
            channel.basic_publish("", "work.dead", name.encode(), Raw(flags, data), mandatory=True)
        channel.basic_publish("", "work.dead", b"good", pika.BasicProperties(), mandatory=True)
        with Admin(parse_urls(vhost_url), ConnectionOptions()) as admin:
            letters = DeadLetters(admin, "work")
            wait_for(lambda: len(letters) == len(STRANGE) + 1)
            assert len(letters.retry()) == len(STRANGE) + 1
            assert len(letters) == 0
            moved = Counter(received.body for received in admin.take("work", len(STRANGE) + 1))
    assert moved == Counter([*(name.encode() for name in STRANGE), b"good"])
