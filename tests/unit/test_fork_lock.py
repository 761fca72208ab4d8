"""The child of a fork goes on although a thread that only the parent has was in the middle of something."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest

from amqtask import Amqtask
from amqtask.app.transport import BrokerTransport
from amqtask.broker.aio import AioTransport
from amqtask.broker.fork_lock import ForkLock
from amqtask.broker.interface import ConnectionOptions
from amqtask.broker.url import parse_urls

URLS = parse_urls("amqp://127.0.0.1:9/")
OPTIONS = ConnectionOptions(name="test")


async def line(transport: AioTransport) -> object:
    return transport._line()


TRANSPORT = BrokerTransport(URLS, OPTIONS, "round-robin")
AIO = AioTransport(URLS, OPTIONS)
APP = Amqtask("forks", broker_url="amqp://127.0.0.1:9/")

USES = {
    "blocking": (TRANSPORT._lock, lambda: TRANSPORT._sync),
    "awaiting": (TRANSPORT._lock, lambda: TRANSPORT.aio),
    "a loop's line": (AIO._mutex, lambda: asyncio.run(line(AIO))),
    "an app's connections": (APP._wiring._lock, lambda: APP._wiring.own),
}


@pytest.mark.parametrize("use", USES)
def test_what_a_thread_was_making_during_the_fork_can_be_made_in_the_child(use: str):
    lock, make = USES[use]
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            let_go.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(60)
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # ends a child that waits for ever
        os._exit(0 if make() is not None else 1)
    ended = os.waitpid(child, 0)[1]
    let_go.set()
    thread.join(60)
    assert ended == 0


def test_it_keeps_others_out_and_lets_its_holder_in_again():
    lock, entered = ForkLock(), threading.Event()

    def enter() -> None:
        with lock:
            entered.set()

    thread = threading.Thread(target=enter)
    with lock, lock:
        thread.start()
        assert not entered.wait(0.05)
    thread.join(60)
    assert entered.is_set()
