"""TLS: verified server certificates, client certificates, and errors that say what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from chosen_broker import own_node
from consuming import Consumer
from nodes import RabbitNode
from publishing import OPTIONS, drain, message

from amqtask.broker.admin import Admin
from amqtask.broker.aio import AioTransport
from amqtask.broker.interface import ConnectionOptions
from amqtask.broker.sync import SyncTransport
from amqtask.broker.url import BrokerURL, parse_urls
from amqtask.errors import BrokerUnavailable, ConfigError
from amqtask.topology.declarations import QueueDeclare

pytestmark = [pytest.mark.rabbitmq, pytest.mark.rabbitmq_only("TLS")]


def _node(option: str) -> Iterator[RabbitNode]:
    with own_node(option) as node:
        assert isinstance(node, RabbitNode)
        with Admin(parse_urls(node.url), OPTIONS) as admin:
            admin.declare(QueueDeclare("q"))
        yield node


@pytest.fixture(scope="module")
def tls_node() -> Iterator[RabbitNode]:
    """Offers TLS and asks for no client certificate."""
    yield from _node("--tls")


@pytest.fixture(scope="module")
def mtls_node() -> Iterator[RabbitNode]:
    """Demands a client certificate, and takes its name for a login."""
    yield from _node("--mtls")


def options(node: RabbitNode, *, client: bool = False) -> ConnectionOptions:
    folder = node.tls_folder
    given = replace(OPTIONS, ca_file=str(folder / "ca.pem"))
    if client:
        given = replace(given, cert_file=str(folder / "client.pem"), key_file=str(folder / "client.key"))
    return given


def send(url: BrokerURL, given: ConnectionOptions, timeout: float = 10) -> None:
    sender = SyncTransport((url,), given)
    try:
        sender.send(message("q"), timeout=timeout)
    finally:
        sender.close()


def asend(url: BrokerURL, given: ConnectionOptions, timeout: float = 10) -> None:
    asyncio.run(AioTransport((url,), given).asend(message("q"), timeout=timeout))


def admin_send(url: BrokerURL, given: ConnectionOptions, timeout: float = 10) -> None:
    with Admin((url,), given) as admin:
        admin.publish(message("q"))


EVERY_WAY = pytest.mark.parametrize("way", [send, asend, admin_send])


@EVERY_WAY
def test_a_verified_connection_carries_messages(tls_node: RabbitNode, way):
    (url,) = parse_urls(tls_node.tls_url)
    way(url, options(tls_node))
    assert drain(tls_node.url, "q") == {"m": 1}


def test_many_large_messages_survive_tls(tls_node: RabbitNode):
    (url,) = parse_urls(tls_node.tls_url)
    sender = SyncTransport((url,), options(tls_node))
    batch = [message("q", str(number), b"x" * 50_000) for number in range(300)]
    assert sender.send_many(batch, timeout=30) == {}
    sender.close()
    assert len(drain(tls_node.url, "q")) == 300


def test_each_large_message_is_delivered_through_tls_without_another_one_pushing_it(tls_node: RabbitNode):
    (url,) = parse_urls(tls_node.tls_url)
    consumer = Consumer(url, options(tls_node))
    with Admin(parse_urls(tls_node.url), OPTIONS) as admin:
        for size in (*range(16_000, 16_400, 40), *range(65_300, 65_600, 30), *range(130_900, 131_200, 30)):
            admin.publish(message("q", body=b"x" * size))
            assert len(consumer.next()[1]) == size
    consumer.close()


@EVERY_WAY
def test_an_unknown_authority_is_refused(tls_node: RabbitNode, way):
    (url,) = parse_urls(tls_node.tls_url)
    with pytest.raises(BrokerUnavailable, match=r"certificate was not accepted|CERTIFICATE_VERIFY_FAILED"):
        way(url, OPTIONS, 1)


@EVERY_WAY
def test_another_host_name_than_the_certificates_is_refused(tls_node: RabbitNode, way):
    (url,) = parse_urls(tls_node.tls_url)
    with pytest.raises(BrokerUnavailable, match=r"certificate was not accepted|CERTIFICATE_VERIFY_FAILED"):
        way(replace(url, host="127.1"), options(tls_node), 1)  # reaches 127.0.0.1, and is not in the certificate


@EVERY_WAY
def test_verification_can_be_turned_off(tls_node: RabbitNode, way):
    (url,) = parse_urls(tls_node.tls_url)
    way(url, replace(OPTIONS, verify=False))
    assert drain(tls_node.url, "q") == {"m": 1}


def test_the_url_may_carry_the_tls_settings(tls_node: RabbitNode):
    ca = tls_node.tls_folder / "ca.pem"
    (url,) = parse_urls(f"{tls_node.tls_url}?cacertfile={ca}&verify=verify_peer")
    send(url, OPTIONS)
    assert drain(tls_node.url, "q") == {"m": 1}


def test_plain_amqp_on_the_tls_port_is_told(tls_node: RabbitNode):
    (url,) = parse_urls(tls_node.tls_url)
    with pytest.raises(BrokerUnavailable, match="TLS port"):
        send(replace(url, tls=False), OPTIONS, 1)


def test_tls_on_the_plain_port_is_told(tls_node: RabbitNode):
    (url,) = parse_urls(tls_node.url)
    with pytest.raises(BrokerUnavailable, match="TLS failed"):
        send(replace(url, tls=True), options(tls_node), 1)


@EVERY_WAY
def test_a_missing_client_certificate_is_told(mtls_node: RabbitNode, way):
    (url,) = parse_urls(mtls_node.tls_url)
    with pytest.raises(BrokerUnavailable, match=r"client certificate|CERTIFICATE_REQUIRED|certificate required"):
        way(url, options(mtls_node), 2)


@EVERY_WAY
def test_a_client_certificate_lets_in(mtls_node: RabbitNode, way):
    (url,) = parse_urls(mtls_node.tls_url)
    way(url, options(mtls_node, client=True))
    assert drain(mtls_node.url, "q") == {"m": 1}


@EVERY_WAY
def test_a_client_certificate_can_be_the_login(mtls_node: RabbitNode, way):
    (url,) = parse_urls(mtls_node.tls_url)
    way(replace(url, external=True, user="nobody", password=""), options(mtls_node, client=True))
    assert drain(mtls_node.url, "q") == {"m": 1}


def test_files_that_cannot_be_used_are_named(tls_node: RabbitNode, tmp_path: Path):
    (url,) = parse_urls(tls_node.tls_url)
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for given, says in (
        (replace(OPTIONS, ca_file=str(tmp_path / "missing.pem")), r"missing\.pem.*No such file"),
        (replace(OPTIONS, ca_file=str(empty)), r"empty\.pem"),
        (replace(options(tls_node), cert_file=str(tmp_path / "no.pem")), r"no\.pem"),
    ):
        with pytest.raises(ConfigError, match=says):
            send(url, given, 1)
