"""Declaring and deleting exchanges."""

from __future__ import annotations

import pytest
from amqp_client import Client, Server, disconnected, exchange_exists, put, refused, size
from pika.adapters.blocking_connection import BlockingChannel

KINDS = ["direct", "fanout", "topic", "headers"]
PREDECLARED = {
    "": "direct",
    "amq.direct": "direct",
    "amq.fanout": "fanout",
    "amq.topic": "topic",
    "amq.headers": "headers",
    "amq.match": "headers",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("durable", [True, False])
def test_declaring_again_alike_changes_nothing(channel: BlockingChannel, kind: str, durable: bool) -> None:
    for _ in range(2):
        channel.exchange_declare("x", kind, durable=durable)


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kind in PREDECLARED.items() if name])
def test_predeclared_exchanges_are_there_and_durable(channel: BlockingChannel, name: str, kind: str) -> None:
    channel.exchange_declare(name, passive=True)
    channel.exchange_declare(name, kind, durable=True)


@pytest.mark.parametrize(
    ("options", "argument", "received", "current"),
    [
        ({"exchange_type": "fanout"}, "type", "'fanout'", "'direct'"),
        ({"durable": True}, "durable", "'true'", "'false'"),
        ({"auto_delete": True}, "auto_delete", "'true'", "'false'"),
        ({"internal": True}, "internal", "'true'", "'false'"),
        (
            {"arguments": {"alternate-exchange": "other"}},
            "alternate-exchange",
            "the value 'other' of type 'longstr'",
            "none",
        ),
    ],
)
def test_declaring_again_with_other_properties_is_refused(
    channel: BlockingChannel, vhost: str, options: dict[str, object], argument: str, received: str, current: str
) -> None:
    channel.exchange_declare("x", "direct")
    text = (
        f"PRECONDITION_FAILED - inequivalent arg '{argument}' for exchange 'x' in vhost '{vhost}': "
        f"received {received} but current is {current}"
    )
    with refused(406, text):
        channel.exchange_declare("x", **{"exchange_type": "direct", **options})


@pytest.mark.parametrize(("value", "kind"), [(5, "signedint"), (True, "bool"), (None, "void")])
def test_an_alternate_exchange_has_to_be_a_name(channel: BlockingChannel, vhost: str, value: object, kind: str) -> None:
    text = f"invalid type '{kind}' for arg 'alternate-exchange' in exchange 'x' in vhost '{vhost}'"
    with refused(406, f"PRECONDITION_FAILED - {text}"):
        channel.exchange_declare("x", "direct", arguments={"alternate-exchange": value})


def test_unknown_arguments_are_not_compared(channel: BlockingChannel) -> None:
    channel.exchange_declare("x", "direct", arguments={"x-colour": "red"})
    channel.exchange_declare("x", "direct", arguments={"x-colour": "blue"})


def test_an_unknown_kind_is_refused(channel: BlockingChannel, server: Server) -> None:
    if server.version >= (4, 0):
        with refused(406, "PRECONDITION_FAILED - unknown exchange type 'x-unheard-of'"):
            channel.exchange_declare("x", "x-unheard-of")
    else:
        with disconnected(503, "COMMAND_INVALID - unknown exchange type 'x-unheard-of'"):
            channel.exchange_declare("x", "x-unheard-of")


def test_a_missing_exchange_is_not_found(channel: BlockingChannel, vhost: str) -> None:
    with refused(404, f"NOT_FOUND - no exchange 'missing' in vhost '{vhost}'"):
        channel.exchange_declare("missing", passive=True)


def test_a_passive_declaration_compares_nothing(channel: BlockingChannel) -> None:
    channel.exchange_declare("x", "fanout", durable=True)
    channel.exchange_declare("x", "direct", passive=True)


def test_names_of_the_broker_are_reserved(channel: BlockingChannel) -> None:
    with refused(403, "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'"):
        channel.exchange_declare("amq.mine", "direct")


def test_a_predeclared_exchange_cannot_be_changed(channel: BlockingChannel) -> None:
    with refused(406, "inequivalent arg 'durable' for exchange 'amq.direct'"):
        channel.exchange_declare("amq.direct", "direct", durable=False)


@pytest.mark.parametrize("name", ["amq.direct", "amq.topic", "amq.match"])
def test_a_predeclared_exchange_cannot_be_deleted(channel: BlockingChannel, vhost: str, name: str) -> None:
    with refused(403, f"ACCESS_REFUSED - deletion of system exchange '{name}' in vhost '{vhost}' not allowed"):
        channel.exchange_delete(name)


def test_the_default_exchange_cannot_be_declared(channel: BlockingChannel) -> None:
    with refused(403, "ACCESS_REFUSED - operation not permitted on the default exchange"):
        channel.exchange_declare("", "direct", durable=True)


def test_the_default_exchange_cannot_be_deleted(channel: BlockingChannel) -> None:
    with refused(403, "ACCESS_REFUSED - operation not permitted on the default exchange"):
        channel.exchange_delete("")


def test_the_default_exchange_cannot_be_bound_to(channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    with refused(403, "ACCESS_REFUSED - operation not permitted on the default exchange"):
        channel.queue_bind("q", "", "key")


def test_the_default_exchange_leads_to_every_queue_by_name(channel: BlockingChannel) -> None:
    channel.queue_declare("a")
    channel.queue_declare("b")
    put(channel, "b", "1")
    assert (size(channel, "a"), size(channel, "b")) == (0, 1)


def test_a_deleted_exchange_is_gone(client: Client, channel: BlockingChannel) -> None:
    channel.exchange_declare("x", "direct")
    channel.exchange_delete("x")
    assert not exchange_exists(client, "x")


def test_deleting_a_missing_exchange_is_fine(channel: BlockingChannel) -> None:
    channel.exchange_delete("missing")
    channel.exchange_delete("missing", if_unused=True)


def test_an_exchange_in_use_is_kept_on_request(channel: BlockingChannel, vhost: str) -> None:
    channel.exchange_declare("x", "direct")
    channel.queue_declare("q")
    channel.queue_bind("q", "x", "k")
    with refused(406, f"PRECONDITION_FAILED - exchange 'x' in vhost '{vhost}' in use"):
        channel.exchange_delete("x", if_unused=True)


def test_an_unused_exchange_is_deleted_on_request(client: Client, channel: BlockingChannel) -> None:
    channel.exchange_declare("x", "direct")
    channel.queue_declare("q")
    channel.queue_bind("q", "x", "k")
    channel.queue_unbind("q", "x", "k")
    channel.exchange_delete("x", if_unused=True)
    assert not exchange_exists(client, "x")


def test_an_exchange_that_is_only_a_destination_is_unused(client: Client, channel: BlockingChannel) -> None:
    channel.exchange_declare("x", "direct")
    channel.exchange_bind("x", "amq.fanout")
    channel.exchange_delete("x", if_unused=True)
    assert not exchange_exists(client, "x")


def test_nobody_publishes_to_an_internal_exchange(channel: BlockingChannel, vhost: str) -> None:
    channel.exchange_declare("inner", "fanout", internal=True)
    with refused(403, f"ACCESS_REFUSED - cannot publish to internal exchange 'inner' in vhost '{vhost}'"):
        put(channel, "k", "x", exchange="inner")


def test_an_internal_exchange_passes_on_what_others_route_to_it(channel: BlockingChannel) -> None:
    channel.exchange_declare("inner", "fanout", internal=True)
    channel.exchange_declare("outer", "fanout")
    channel.queue_declare("q")
    channel.queue_bind("q", "inner")
    channel.exchange_bind("inner", "outer")
    put(channel, "", "x", exchange="outer")
    assert size(channel, "q") == 1


def test_an_auto_delete_exchange_goes_with_its_last_binding(client: Client, channel: BlockingChannel) -> None:
    channel.exchange_declare("x", "direct", auto_delete=True)
    channel.queue_declare("q")
    channel.queue_bind("q", "x", "1")
    channel.queue_bind("q", "x", "2")
    channel.queue_unbind("q", "x", "1")
    assert exchange_exists(client, "x")
    channel.queue_unbind("q", "x", "2")
    assert not exchange_exists(client, "x")


def test_an_auto_delete_exchange_goes_with_its_last_queue(client: Client, channel: BlockingChannel) -> None:
    channel.exchange_declare("x", "direct", auto_delete=True)
    channel.queue_declare("q")
    channel.queue_bind("q", "x", "1")
    channel.queue_delete("q")
    assert not exchange_exists(client, "x")


def test_an_auto_delete_exchange_goes_with_the_last_exchange_bound_to_it(
    client: Client, channel: BlockingChannel
) -> None:
    channel.exchange_declare("x", "direct", auto_delete=True)
    channel.exchange_declare("y", "direct")
    channel.exchange_bind("y", "x", "1")
    channel.exchange_delete("y")
    assert not exchange_exists(client, "x")


def test_an_auto_delete_exchange_that_was_never_bound_stays(client: Client, channel: BlockingChannel) -> None:
    channel.exchange_declare("x", "direct", auto_delete=True)
    assert exchange_exists(client, "x")


def test_bindings_of_a_deleted_exchange_do_not_come_back(channel: BlockingChannel) -> None:
    channel.exchange_declare("x", "fanout")
    channel.queue_declare("q")
    channel.queue_bind("q", "x")
    channel.exchange_delete("x")
    channel.exchange_declare("x", "fanout")
    put(channel, "", "lost", exchange="x")
    assert size(channel, "q") == 0


def test_publishing_to_a_missing_exchange_closes_the_channel(channel: BlockingChannel, vhost: str) -> None:
    with refused(404, f"NOT_FOUND - no exchange 'missing' in vhost '{vhost}'"):
        put(channel, "k", "x", exchange="missing")
