"""Using a connection at the very moment at which it goes."""

from __future__ import annotations

import pytest
from publishing import OPTIONS

from amqtask.broker.declare import declare_steps
from amqtask.broker.pika_driver import PikaConnection, new_loop, open_connection
from amqtask.broker.url import parse_urls
from amqtask.errors import BrokerUnavailable
from amqtask.topology.declarations import QueueDeclare

pytestmark = pytest.mark.rabbitmq


@pytest.mark.parametrize("how", [PikaConnection.close, PikaConnection.drop])
def test_a_declaration_on_a_connection_that_is_going_is_told_so_like_one_that_was_interrupted(broker_url: str, how):
    loop = new_loop()
    told: list[object] = []

    def opened(connection: PikaConnection) -> None:
        how(connection)
        declare_steps(connection, [QueueDeclare("never")], told.append)
        assert told == []

    def closed(_error: object) -> None:
        declare_steps(connection, [QueueDeclare("never")], told.append)
        loop.call_later(0.01, loop.stop)

    connection = open_connection(
        loop, parse_urls(broker_url)[0], OPTIONS, on_open=opened, on_error=told.append, on_closed=closed,
        on_blocked=told.append,
    )  # fmt: skip
    loop.run()
    loop.close()
    assert [type(one) for one in told] == [BrokerUnavailable] * 2
