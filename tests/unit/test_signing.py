"""Signatures: what they cover, whom they let pass, keys that rotate, messages that are too old."""

from __future__ import annotations

import sys
from base64 import b64encode
from types import SimpleNamespace

import pika
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519

from amqtask import clock
from amqtask.broker.content import encode_properties
from amqtask.config.sources import Configuration
from amqtask.errors import ConfigError, DecodeError
from amqtask.wire.codec import decode, encode, serializers
from amqtask.wire.message import Outgoing, Properties, TaskMessage
from amqtask.wire.signing import ANSWER, REQUEST, SIGNATURE, Signer

OLD, NEW = "an old secret of some length", "a new secret of some length"
PAIR = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PRIVATE = "ed25519:" + b64encode(PAIR.private_bytes_raw()).decode()
PUBLIC = "ed25519-public:" + b64encode(PAIR.public_key().public_bytes_raw()).decode()
PRIVATE_PEM = PAIR.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
PUBLIC_PEM = (
    PAIR.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
)


def signer(keys=None, own=None, *, required=True, max_age=None):
    return Signer(
        SimpleNamespace(
            message_signing_keys=keys,
            message_signing_key=own,
            message_signing_required=required,
            message_max_age=max_age,
        )
    )


def message(**changes):
    return encode(TaskMessage("t", "i", (1,), **changes), serializer=serializers.get("json"))


def signed(by, **changes):
    properties, body = message(**changes)
    return by.sign(properties, body), body


def test_without_keys_nothing_is_signed_and_everything_passes():
    plain = signer(required=False)
    properties, body = message()
    assert plain.sign(properties, body) is properties
    assert plain.renew(properties, body, properties, body) is properties
    plain.verify(properties, body)
    assert (plain.signs, plain.checks) == (False, False)


@pytest.mark.parametrize(
    ("secret", "checked"),
    [(OLD, OLD), (PRIVATE, PRIVATE), (PRIVATE, PUBLIC), (PRIVATE_PEM, PUBLIC_PEM), (PRIVATE_PEM, PUBLIC)],
)
def test_a_signed_message_passes_and_reads_as_before(secret, checked):
    properties, body = signed(signer({"k": secret}, "k"))
    signer({"k": checked}).verify(properties, body)
    assert decode(properties, body, ["json"]).args == (1,)


@pytest.mark.parametrize("secret", [OLD, PRIVATE])
def test_whatever_decides_what_runs_is_covered(secret):
    key = signer({"k": secret}, "k")
    properties, body = signed(key)
    changes = [
        {"task": "other"}, {"id": "other"}, {"retries": 1}, {"eta": "2030-01-01T00:00:00+00:00"},
        {"expires": "2030-01-01T00:00:00+00:00"}, {"timelimit": [1, None]}, {"ignore_result": True}, {"group": "g"},
        {"group_index": 3}, {"compression": "application/x-gzip"}, {"x-amqtask-beat": {"entry": "e"}},
        {"x-amqtask-limit-key": "tenant 2"}, {"stamps": {"tenant": "2"}},
    ]  # fmt: skip
    forged = [properties._replace(headers={**properties.headers, **change}) for change in changes]
    forged += [
        properties._replace(content_type="application/x-yaml"),
        properties._replace(content_encoding="binary"),
        properties._replace(reply_to="mine"),
    ]
    for wrong in forged:
        with pytest.raises(DecodeError, match="the signature by key 'k' is wrong"):
            key.verify(wrong, body)
    for other in (body + b" ", b"", body.replace(b"1", b"2")):
        with pytest.raises(DecodeError, match="is wrong"):
            key.verify(properties, other)


def test_the_signed_bytes_of_tasks_stay_the_same_from_version_to_version(monkeypatch):
    monkeypatch.setattr(clock, "wall", lambda: 1767225600.5)
    headers = {"task": "shop.pay", "id": "t1", "retries": 1, "timelimit": [2.5, None], "mine": "x"}
    properties = Properties("application/json", "utf-8", headers, reply_to="caller")
    made = signer({"k": "a secret that nobody guesses"}, "k").sign(properties, b"[[1],{},{}]").headers[SIGNATURE]
    assert made == "k:1767225600500:xdVZ6StHv2nE9F33viQZ0pkJRM4oF6+4BJ+SzPq1R+o="


def test_a_request_is_no_task_with_the_header_of_a_periodic_one():
    key = signer({"k": OLD}, "k")
    properties, body = message()
    request = key.signed(Outgoing("", "q", properties, body), REQUEST).properties
    for value in (REQUEST, [REQUEST], None):
        with pytest.raises(DecodeError, match="is wrong"):
            key.verify(request._replace(headers={**request.headers, "x-amqtask-beat": value}), body)


@pytest.mark.parametrize("required", [True, False])
def test_what_versions_have_signed_that_signed_tasks_only_passes_until_signatures_are_required(required):
    """Periodic tasks without their header, and records of the scheduler as if they were tasks."""
    old, key = signer({"k": OLD}, "k"), signer({"k": OLD}, "k", required=required)
    properties, body = message()
    task = old.sign(properties, body)
    for received, about in [
        (task._replace(headers={**task.headers, "x-amqtask-beat": {"entry": "e"}}), ()),
        (task, ("beat", "q", None, "i")),
    ]:
        if required:
            with pytest.raises(DecodeError, match="is wrong"):
                key.verify(received, body, *about)
        else:
            key.verify(received, body, *about)


def test_what_changes_on_the_way_is_not_covered():
    key = signer({"k": OLD}, "k")
    properties, body = signed(key)
    headers = {**properties.headers, "x-amqtask-lost": 1, "x-death": [{}], "mine": 2}
    key.verify(properties._replace(headers=headers, message_id="another", priority=3), body)


@pytest.mark.parametrize("found", ["", "k", "k:1", "k:x:AAAA", "k:1:???", "k:1:AA:AA", 7, b"k:1:AA", ["k"]])
def test_a_signature_that_is_none_is_a_decode_error(found):
    properties, body = message()
    with pytest.raises(DecodeError):
        signer({"k": OLD}).verify(properties._replace(headers={**properties.headers, SIGNATURE: found}), body)


def test_the_time_of_sending_and_the_key_are_covered():
    key = signer({"k": OLD, "l": OLD}, "k")
    properties, body = signed(key)
    _, sent, signature = properties.headers[SIGNATURE].split(":")
    for forged in (f"l:{sent}:{signature}", f"k:{int(sent) + 1}:{signature}"):
        with pytest.raises(DecodeError, match="is wrong"):
            key.verify(properties._replace(headers={**properties.headers, SIGNATURE: forged}), body)


def test_a_message_without_a_signature_passes_only_where_none_is_required():
    properties, body = message()
    signer({"k": OLD}, required=False).verify(properties, body)
    with pytest.raises(DecodeError, match="carries no signature of a known key"):
        signer({"k": OLD}).verify(properties, body)
    with pytest.raises(DecodeError, match="carries no signature of a known key"):
        signer({"k": OLD}).verify(Properties(), b"")


def test_a_wrong_signature_never_passes():
    properties, body = signed(signer({"k": OLD}, "k"))
    with pytest.raises(DecodeError, match="is wrong"):
        signer({"k": NEW}, required=False).verify(properties, body)


def test_keys_rotate_without_a_message_lost():
    first, both = signer({"old": OLD}, "old"), signer({"old": OLD, "new": NEW}, "new")
    by_old, by_new = signed(first), signed(both)
    both.verify(*by_old)
    both.verify(*by_new)
    with pytest.raises(DecodeError, match="no signature of a known key"):
        signer({"new": NEW}, "new").verify(*by_old)
    signer({"new": NEW}, required=False).verify(*by_old)


def test_a_message_is_too_old_by_its_signed_time_but_waiting_is_no_age(monkeypatch):
    key = signer({"k": OLD}, "k", max_age=60.0)
    now = clock.wall()
    eta = clock.utcnow().replace(microsecond=0)
    plain, delayed = signed(key), signed(key, eta=eta.replace(year=eta.year + 1, month=1, day=1))
    monkeypatch.setattr(clock, "wall", lambda: now + 59)
    key.verify(*plain)
    monkeypatch.setattr(clock, "wall", lambda: now + 62)
    with pytest.raises(DecodeError, match=r"was signed 6\d s ago, message_max_age is 60 s"):
        key.verify(*plain)
    key.verify(*plain, any_age=True)
    key.verify(*delayed)


def test_only_what_was_signed_is_signed_again():
    key = signer({"k": OLD}, "k", max_age=0.0)
    old, new = signed(key), message(retries=1)
    renewed = key.renew(*old, *new)
    signer({"k": OLD}).verify(renewed, new[1])
    forged = old[0]._replace(headers={**old[0].headers, "task": "other"})
    for wrong in (message()[0], forged):
        assert SIGNATURE not in key.renew(wrong, old[1], forged, new[1]).headers


def test_the_next_attempt_by_a_celery_worker_counts_as_unsigned():
    """It copies all headers, and counts the retry."""
    properties, body = signed(signer({"k": OLD}, "k"))
    again = properties._replace(headers={**properties.headers, "retries": 1, "eta": "2030-01-01T00:00:00+00:00"})
    lenient = signer({"k": OLD}, "k", required=False)
    assert lenient.verify(again, body) is None
    assert SIGNATURE not in lenient.renew(again, body, again, body).headers  # nor is anything signed because of it
    with pytest.raises(DecodeError, match="is wrong"):
        signer({"k": OLD}).verify(again, body)
    for about in ((ANSWER, "i"), (REQUEST,)):
        with pytest.raises(DecodeError, match="is wrong"):
            lenient.verify(again, body, *about)
    for retries in (0, -1, "1", None, [1]):
        with pytest.raises(DecodeError, match="is wrong"):
            lenient.verify(again._replace(headers={**again.headers, "retries": retries}), body)


def test_a_signature_that_has_become_wrong_is_taken_away_where_no_new_one_can_be_made():
    old = signed(signer({"k": OLD}, "k"))
    checking = signer({"k": OLD}, required=False)
    assert SIGNATURE in checking.renew(*old, *old).headers
    changed = old[0]._replace(headers={**old[0].headers, "retries": 1})
    assert checking.renew(*old, changed, old[1]).headers == {"task": "t", "id": "i", "retries": 1}
    with pytest.raises(ConfigError, match="what it sends would be refused"):
        signer({"k": OLD}).renew(*old, changed, old[1])


def test_where_signatures_are_required_nothing_is_sent_without_a_key():
    properties, body = message()
    checking = signer({"k": PUBLIC})
    assert (checking.lacks_key, checking.signs, checking.signature(properties, body)) == (True, True, None)
    with pytest.raises(ConfigError, match="has no message_signing_key: what it sends would be refused"):
        checking.sign(properties, body)
    sent = Outgoing("", "q", properties, body)
    with pytest.raises(ConfigError, match="has no message_signing_key"):
        checking.signed(sent, REQUEST)
    assert checking.signed(sent, REQUEST, needed=False) is sent
    assert not signer({"k": OLD}, "k").lacks_key


@pytest.mark.parametrize(
    ("keys", "own", "required", "only"),
    [
        (None, None, False, False), ({"k": OLD}, None, False, False), ({"k": PUBLIC}, None, False, True),
        ({"k": PUBLIC, "l": OLD}, "l", False, False), ({"k": OLD}, None, True, True), ({"k": OLD}, "k", True, False),
    ],
)  # fmt: skip
def test_who_can_only_check_is_known(keys, own, required, only):
    assert signer(keys, own, required=required).only_checks is only


def test_what_is_signed_for_one_thing_passes_for_nothing_else():
    key = signer({"k": OLD}, "k")
    properties, body = message()
    answer = key.signed(Outgoing("", "q", properties, body), ANSWER, "id").properties
    key.verify(answer, body, ANSWER, "id")
    for other in ((), (ANSWER,), (ANSWER, "other"), (REQUEST, "id"), (ANSWER, "id", None)):
        with pytest.raises(DecodeError, match="is wrong"):
            key.verify(answer, body, *other)
    with pytest.raises(DecodeError, match="is wrong"):
        key.verify(key.sign(properties, body), body, ANSWER, "id")


def test_what_must_come_soon_has_a_limit_of_its_own(monkeypatch):
    key = signer({"k": OLD}, "k")
    properties, body = message()
    request = key.signed(Outgoing("", "q", properties, body), REQUEST).properties
    now = clock.wall()
    monkeypatch.setattr(clock, "wall", lambda: now + 62)
    key.verify(request, body, REQUEST)
    with pytest.raises(DecodeError, match=r"was signed 6\d s ago, the limit is 60 s"):
        key.verify(request, body, REQUEST, within=60)


def test_a_signature_survives_the_broker():
    key = signer({"k": OLD}, "k")
    beat = {"x-amqtask-beat": {"entry": "e", "due": "2030-01-01T00:00:00+00:00", "asked": "é"}}
    options = {"timelimit": (2.5, 1.0), "ignore_result": False, "group": "g", "group_index": 0, "headers": beat}
    properties, body = signed(key, retries=2, **options)
    received = pika.BasicProperties().decode(encode_properties(properties))
    assert received.headers == properties.headers
    key.verify(received, body)


def test_headers_of_strangers_do_no_harm():
    key = signer({"k": OLD}, "k")
    endless = {}
    endless["x"] = endless
    properties, body = signed(key)
    for value in (b"\xff", object(), float("nan"), endless, {b"x": 1}):
        with pytest.raises(DecodeError, match="is wrong"):
            key.verify(properties._replace(headers={**properties.headers, "group": value}), body)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"keys": {"k": "short"}}, "less than 16 characters"),
        ({"keys": {"k": OLD}, "own": "l"}, "'l' is not in message_signing_keys"),
        ({"keys": {"k": PUBLIC}, "own": "k"}, "is a public key"),
        ({"keys": None}, "message_signing_required needs message_signing_keys"),
        ({"keys": {}}, "message_signing_required needs message_signing_keys"),
        ({"keys": "k=secret"}, "must be a map"),
        ({"keys": {"a:b": OLD}}, "not a key id"),
        ({"keys": {"": OLD}}, "not a key id"),
        ({"keys": {"k": 5}}, "is not text"),
        ({"keys": {"k": "ed25519:AAAA"}}, "an Ed25519 key can't be read"),
        ({"keys": {"k": "ed25519-public:?"}}, "an Ed25519 key can't be read"),
        ({"keys": {"k": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"}}, "can't be read"),
        ({"keys": {"k": "# ours\n-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"}}, "is not a secret"),
        ({"keys": {"k": "\ufeff" + PUBLIC}}, "is not a secret"),
    ],
)
def test_keys_that_cannot_be_used_are_config_errors(settings, text):
    with pytest.raises(ConfigError, match=text) as caught:
        signer(**settings)
    for secret in ("short", OLD):
        assert secret not in str(caught.value).split()


@pytest.mark.parametrize("key", [PUBLIC, PUBLIC_PEM])
@pytest.mark.parametrize("space", [" ", "\n", "\n    ", "\t"])
def test_white_space_before_a_public_key_makes_no_secret_of_it(key, space):
    """A triple-quoted text begins so. As a secret, whoever has the public key could sign with it."""
    signer({"k": space + key}).verify(*signed(signer({"k": PRIVATE}, "k")))
    with pytest.raises(ConfigError, match="is a public key"):
        signer({"k": space + key}, "k")


def test_a_pem_key_of_another_kind_is_a_config_error():
    other = x25519.X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ConfigError, match="not an Ed25519 key"):
        signer({"k": other.decode()})


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None)
    with pytest.raises(ConfigError, match=r'pip install "amqtask\[auth\]"'):
        signer({"k": PRIVATE})


def test_keys_come_from_the_environment_and_are_shown_nowhere(monkeypatch):
    monkeypatch.setenv("AMQTASK_MESSAGE_SIGNING_KEYS", f"old={OLD},pair={PRIVATE}")
    monkeypatch.setenv("AMQTASK_MESSAGE_SIGNING_KEY", "pair")
    configuration = Configuration()
    properties, body = signed(Signer(configuration.settings))
    signer({"pair": PUBLIC}).verify(properties, body)
    (row,) = [row for row in configuration.report() if row.name == "message_signing_keys"]
    assert row.value == "old=********, pair=********"
    assert OLD not in repr(configuration.settings)


@pytest.mark.parametrize("given", [OLD, [OLD], {"k": [OLD]}, {5: OLD}])
def test_keys_of_the_wrong_shape_are_an_error_without_the_keys(given):
    with pytest.raises(ConfigError, match="message_signing_keys: ") as caught:
        Configuration().update({"message_signing_keys": given})
    assert OLD not in str(caught.value)


def test_keys_without_names_in_the_environment_are_an_error_without_the_keys(monkeypatch):
    monkeypatch.setenv("AMQTASK_MESSAGE_SIGNING_KEYS", OLD)
    configuration = Configuration()
    with pytest.raises(ConfigError, match="message_signing_keys: ") as caught:
        _ = configuration.settings
    assert OLD not in str(caught.value)
