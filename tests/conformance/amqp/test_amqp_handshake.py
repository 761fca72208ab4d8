"""From the first byte to an open connection."""

from __future__ import annotations

import pytest
from amqp_client import Server
from amqp_wire import CLIENT, Wire
from pamqp import commands, encode
from pamqp.commands import Connection

GUEST = Connection.StartOk(CLIENT, "PLAIN", "\0guest\0guest", "en_US")
TABLE_START = 4
"""AMQPLAIN's response is a field table without its length."""


@pytest.mark.parametrize(
    "greeting", [b"AMQP\x01\x01\x00\x0a", b"AMQP\x00\x00\x08\x00", b"HTTP/1.1", b"GET / HTTP/1.1\r\n\r\n"]
)
def test_a_client_of_another_protocol_is_told_the_right_header_and_sent_away(
    bare_wire: Wire, server: Server, greeting: bytes
) -> None:
    bare_wire.send_bytes(greeting)
    # RabbitMQ 4 names AMQP 1.0 (with SASL), which the dev broker does not speak.
    other = server.version >= (4, 0) and not server.is_dev
    assert bare_wire.read(8) == (b"AMQP\x03\x01\x00\x00" if other else b"AMQP\x00\x00\x09\x01")
    bare_wire.hung_up()


def test_the_broker_introduces_itself(bare_wire: Wire, server: Server) -> None:
    start = bare_wire.start()
    assert (start.version_major, start.version_minor) == (0, 9)
    assert set(start.mechanisms.split()) >= {"PLAIN", "AMQPLAIN"}
    assert start.locales == "en_US"
    assert start.server_properties["product"] == server.product


@pytest.mark.parametrize(
    "capability",
    [
        "authentication_failure_close",
        "basic.nack",
        "connection.blocked",
        "consumer_cancel_notify",
        "consumer_priorities",
        "direct_reply_to",
        "exchange_exchange_bindings",
        "per_consumer_qos",
        "publisher_confirms",
    ],
)
def test_the_broker_names_its_capabilities(bare_wire: Wire, capability: str) -> None:
    capabilities = bare_wire.start().server_properties["capabilities"]
    assert isinstance(capabilities, dict)
    assert capabilities[capability] is True


def test_limits_are_proposed_as_rabbitmq_does(bare_wire: Wire) -> None:
    bare_wire.start()
    bare_wire.start_ok()
    tune = bare_wire.expect(Connection.Tune, 0)
    assert (tune.channel_max, tune.frame_max, tune.heartbeat) == (2047, 131072, 60)


def test_a_client_may_log_in_with_amqplain(bare_wire: Wire) -> None:
    bare_wire.start()
    table = encode.field_table({"LOGIN": bare_wire.user, "PASSWORD": bare_wire.password})[TABLE_START:]
    bare_wire.start_ok("AMQPLAIN", table.decode("latin-1"))
    bare_wire.expect(Connection.Tune, 0)


def test_a_wrong_password_is_refused_with_403(bare_wire: Wire) -> None:
    bare_wire.start()
    bare_wire.start_ok(response=f"\0{bare_wire.user}\0wrong")
    close = bare_wire.closed()
    assert close.reply_code == 403
    assert close.reply_text.startswith("ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.")


def test_an_unknown_user_is_refused_like_a_wrong_password(bare_wire: Wire) -> None:
    bare_wire.start()
    bare_wire.start_ok(response="\0nobody\0guest")
    assert bare_wire.closed().reply_code == 403


def test_an_unknown_vhost_is_refused_with_530(bare_wire: Wire) -> None:
    bare_wire.vhost = "no/such"
    bare_wire.start()
    bare_wire.start_ok()
    bare_wire.expect(Connection.Tune, 0)
    bare_wire.send(Connection.TuneOk(2047, 131072, 0), Connection.Open("no/such"), channel=0)
    close = bare_wire.closed()
    assert (close.reply_code, close.class_id, close.method_id) == (530, 10, 40)
    assert close.reply_text == "NOT_ALLOWED - vhost no/such not found"


def test_smaller_limits_are_accepted(bare_wire: Wire) -> None:
    bare_wire.start()
    bare_wire.start_ok()
    bare_wire.expect(Connection.Tune, 0)
    bare_wire.send(Connection.TuneOk(1, 8192, 0), Connection.Open(bare_wire.vhost), channel=0)
    bare_wire.expect(Connection.OpenOk, 0)
    bare_wire.open_channel(1)


def test_more_channels_than_agreed_are_refused(bare_wire: Wire) -> None:
    bare_wire.start()
    bare_wire.start_ok()
    bare_wire.expect(Connection.Tune, 0)
    bare_wire.send(Connection.TuneOk(2, 131072, 0), Connection.Open(bare_wire.vhost), channel=0)
    bare_wire.expect(Connection.OpenOk, 0)
    bare_wire.open_channel(1)
    bare_wire.open_channel(2)
    bare_wire.send(commands.Channel.Open(), channel=3)
    close = bare_wire.closed()
    assert close.reply_code == 530
    assert "number of channels opened (2) has reached the negotiated channel_max (2)" in close.reply_text


def test_everything_may_be_sent_at_once(bare_wire: Wire) -> None:
    bare_wire.send_bytes(b"AMQP\x00\x00\x09\x01")
    bare_wire.start_ok()
    bare_wire.send(Connection.TuneOk(2047, 131072, 0), Connection.Open(bare_wire.vhost), channel=0)
    bare_wire.send(commands.Channel.Open())
    for method in (Connection.Start, Connection.Tune, Connection.OpenOk):
        bare_wire.expect(method, 0)
    bare_wire.expect(commands.Channel.OpenOk)


def test_everything_may_come_byte_by_byte(bare_wire: Wire) -> None:
    whole = bare_wire.send_bytes
    bare_wire.send_bytes = lambda data: [whole(data[at : at + 1]) for at in range(len(data))]  # type: ignore[method-assign,func-returns-value]
    bare_wire.login()
    bare_wire.open_channel()


def test_whoever_breaks_the_handshake_is_disconnected_without_a_word(vhost_url: str) -> None:
    tune = Connection.TuneOk
    wrong = {
        "a channel before the connection is open": [commands.Channel.Open()],
        "an unknown mechanism": [Connection.StartOk(CLIENT, "KERBEROS", "x", "en_US")],
        "no NUL in the PLAIN response": [Connection.StartOk(CLIENT, "PLAIN", "guest", "en_US")],
        "a password the client cannot be told is wrong": [
            Connection.StartOk(CLIENT, "PLAIN", "\0guest\0wrong", "en_US")
        ],
        "unlimited channels": [GUEST, tune(0, 131072, 0)],
        "too many channels": [GUEST, tune(65535, 131072, 0)],
        "unlimited frames": [GUEST, tune(2047, 0, 0)],
        "frames larger than proposed": [GUEST, tune(2047, 1 << 24, 0)],
        "frames smaller than allowed": [GUEST, tune(2047, 1024, 0)],
        "open before tune-ok": [GUEST, Connection.Open("/")],
    }
    wires = {name: Wire(vhost_url) for name in wrong}
    for name, wire in wires.items():  # all at once: RabbitMQ waits for three seconds before it hangs up
        wire.start()
        for method in wrong[name]:
            wire.send(method, channel=1 if method.name == "Channel.Open" else 0)
            if method is GUEST:
                wire.expect(Connection.Tune, 0)
    for wire in wires.values():
        with wire:
            wire.hung_up()


def test_a_closed_connection_is_confirmed(wire: Wire) -> None:
    wire.call(Connection.Close(200, "bye", 0, 0), Connection.CloseOk, 0)


def test_client_properties_may_hold_anything(bare_wire: Wire) -> None:
    bare_wire.start()
    properties = {**CLIENT, "nested": {"a": [1, None, {"b": bytearray(b"\xff")}]}, "connection_name": "naïve"}
    login = Connection.StartOk(properties, "PLAIN", f"\0{bare_wire.user}\0{bare_wire.password}", "en_US")
    bare_wire.send(login, channel=0)
    bare_wire.expect(Connection.Tune, 0)


def test_a_secret_can_be_renewed(wire: Wire) -> None:
    wire.call(Connection.UpdateSecret(wire.password, "rotation"), Connection.UpdateSecretOk, 0)
