"""What attempts to connect from a coroutine leave behind."""

from __future__ import annotations

import asyncio
import gc

import pytest

from amqtask.broker.aio import _connect
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
