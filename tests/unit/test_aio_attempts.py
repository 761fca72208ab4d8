"""What attempts to connect from a coroutine leave behind."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress

import aio_pika
import pytest
from publishing import message

from amqtask.broker.aio import AioTransport, _connect
from amqtask.broker.cancelling import quietly
from amqtask.broker.interface import ConnectionOptions
from amqtask.broker.url import parse_urls
from amqtask.errors import BrokerUnavailable


def test_a_failed_attempt_can_be_collected_by_any_thread(recwarn: pytest.WarningsRecorder):
    (url,) = parse_urls("amqp://127.0.0.1:1/")

    async def main() -> None:
        gc.disable()  # what is left is collected in the other thread
        try:
            with pytest.raises(BrokerUnavailable) as caught:
                await _connect(url, ConnectionOptions())
            del caught
            await asyncio.to_thread(gc.collect)
        finally:
            gc.enable()

    asyncio.run(main())
    assert [str(one.message) for one in recwarn] == []


def test_a_deadline_holds_although_an_attempt_that_fails_has_dropped_its_cancellation(monkeypatch: pytest.MonkeyPatch):
    async def fails_as_it_is_cancelled(*_: object, **__: object) -> None:  # wait_for of Python 3.11 does this
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        raise ConnectionRefusedError

    monkeypatch.setattr(aio_pika, "connect", fails_as_it_is_cancelled)
    transport = AioTransport(parse_urls("amqp://127.0.0.1:1/"), ConnectionOptions())
    with pytest.raises(BrokerUnavailable, match="refused"):
        asyncio.run(transport.asend(message("q"), timeout=0.05))


def test_a_quiet_wait_ends_with_what_it_waits_for_and_with_a_cancellation_of_its_own():
    async def main() -> None:
        other = asyncio.ensure_future(asyncio.Event().wait())
        other.cancel()
        await quietly(other)
        waiting = asyncio.ensure_future(quietly(asyncio.Event().wait()))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())
