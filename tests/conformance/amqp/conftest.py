"""Fixtures of the AMQP conformance suite: which broker it is, and clients in a vhost of the test's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import unquote, urlsplit

import pytest
from amqp_client import Client, Server
from amqp_wire import Wire
from nodes import Node
from pika.adapters.blocking_connection import BlockingChannel


@pytest.fixture(scope="session")
def server(broker_node: Node) -> Server:
    """What the broker says it is."""
    with Wire(broker_node.url) as wire:
        properties = wire.start().server_properties
    numbers = re.findall(r"\d+", str(properties["version"]))
    return Server(str(properties["product"]), tuple(int(number) for number in numbers[:3]))


@pytest.fixture
def connect(vhost_url: str) -> Iterator[Callable[..., Client]]:
    """Makes connections to the test's vhost; they are closed after it."""
    made: list[Client] = []

    def connect(**parameters: object) -> Client:
        made.append(Client(vhost_url, **parameters))
        return made[-1]

    yield connect
    for client in made:
        client.close()


@pytest.fixture
def client(connect: Callable[..., Client]) -> Client:
    """A connection to the test's vhost."""
    return connect()


@pytest.fixture
def channel(client: Client) -> BlockingChannel:
    """A channel on ``client``; publishing on it returns when the message is where it belongs."""
    return client.channel(confirm=True)


@pytest.fixture
def wire(vhost_url: str) -> Iterator[Wire]:
    """A logged-in connection with channel 1 open, spoken frame by frame."""
    with Wire(vhost_url) as made:
        made.login()
        made.open_channel()
        yield made


@pytest.fixture
def bare_wire(vhost_url: str) -> Iterator[Wire]:
    """A TCP connection on which nothing was said yet."""
    with Wire(vhost_url) as made:
        yield made


@pytest.fixture
def vhost(vhost_url: str) -> str:
    """Name of the test's vhost, as the broker's texts have it."""
    return unquote(urlsplit(vhost_url).path[1:]) or "/"
