"""Signed messages: a worker runs only what a holder of a key has sent. Owns what is covered, and the header.

The header ``x-amqtask-signature`` is ``<key id>:<milliseconds since 1970>:<base64>``. Covered are the body, and those
properties and headers that decide what runs, when, and where the result goes; not those that change on the way through
queues and dead letters. A retry changes covered headers, so whoever sends one signs again (:meth:`Signer.renew`).
"""

from __future__ import annotations

import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from amqtask import clock
from amqtask.errors import ConfigError, DecodeError
from amqtask.wire.ed25519 import Ed25519Key, is_ed25519

if TYPE_CHECKING:
    from amqtask.wire.message import Properties, PropertiesLike, Table

SIGNATURE = "x-amqtask-signature"

_COVERED = (
    "task", "id", "retries", "eta", "expires", "timelimit", "ignore_result", "group", "group_index", "compression",
)  # fmt: skip

_write = json.JSONEncoder(separators=(",", ":"), default=repr).encode

_SECRET_MIN = 16
"""Characters of a secret; shorter ones can be guessed."""


class SigningSettings(Protocol):
    """The settings that are read here."""

    @property
    def message_signing_keys(self) -> Mapping[str, str] | None: ...  # noqa: D102
    @property
    def message_signing_key(self) -> str | None: ...  # noqa: D102
    @property
    def message_signing_required(self) -> bool: ...  # noqa: D102
    @property
    def message_max_age(self) -> float | None: ...  # noqa: D102


class HmacKey:
    """A shared secret, used with HMAC-SHA256. Thread-safe.

    Raises:
        ConfigError: it is too short.
    """

    can_sign = True

    def __init__(self, value: str) -> None:
        if len(value) < _SECRET_MIN:
            raise ConfigError(
                f"message_signing_keys: a secret has less than {_SECRET_MIN} characters; make one with "
                "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
        self._secret = value.encode()

    def sign(self, data: bytes) -> bytes:
        """The signature, 32 bytes."""
        return hmac.digest(self._secret, data, "sha256")

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Whether the signature is this key's; takes the same time for every wrong one."""
        return hmac.compare_digest(signature, self.sign(data))


class Signer:
    """Signs what is sent and checks what has come. Thread-safe; one per app is enough.

    Without keys both do nothing. Every key is accepted, which is how keys are rotated: give the new one to all, make it
    the one that signs, take the old one away when its last message has been run.

    Args:
        settings: of the app.

    Raises:
        ConfigError: a key that can't be used, a signing key that is not among the keys, or signatures required
            without any key.
    """

    def __init__(self, settings: SigningSettings) -> None:
        self._keys = _read_keys(settings.message_signing_keys)
        self._own = settings.message_signing_key
        self._required, self._max_age = settings.message_signing_required, settings.message_max_age
        if self._required and not self._keys:
            raise ConfigError("message_signing_required needs message_signing_keys")
        if self._own is not None:
            key = self._keys.get(self._own)
            if key is None:
                raise ConfigError(f"message_signing_key {self._own!r} is not in message_signing_keys")
            if not key.can_sign:
                raise ConfigError(f"message_signing_key {self._own!r} is a public key: it can only check signatures")

    @property
    def signs(self) -> bool:
        """Whether :meth:`sign` does anything."""
        return self._own is not None

    @property
    def checks(self) -> bool:
        """Whether :meth:`verify` does anything."""
        return bool(self._keys)

    def sign(self, properties: Properties, body: bytes) -> Properties:
        """The same properties with a signature; the very same ones without a signing key.

        Args:
            properties: as they will be sent.
            body: as it will be sent, compressed.
        """
        if self._own is None:
            return properties
        headers, sent = dict(properties.headers or {}), int(clock.wall() * 1000)
        data = _covered(properties, headers, self._own, sent, body)
        signature = b64encode(self._keys[self._own].sign(data)).decode("ascii")
        headers[SIGNATURE] = f"{self._own}:{sent}:{signature}"
        return properties._replace(headers=headers)

    def verify(self, properties: PropertiesLike, body: bytes, *, any_age: bool = False) -> None:
        """Let a message pass, or not.

        Args:
            properties: of the delivery.
            body: as received.
            any_age: leave ``message_max_age`` out of account.

        Raises:
            DecodeError: the signature is wrong or too old; or signatures are required, and it has none, or one of a
                key that is not here.
        """
        if self._keys and not self._signed(properties, body, any_age=any_age) and self._required:
            raise DecodeError("the message carries no signature of a known key, and message_signing_required is set")

    def renew(self, old: PropertiesLike, old_body: bytes, new: Properties, new_body: bytes) -> Properties:
        """What is made of a received message, signed if the received one was, at whatever age.

        Nobody gets a signature by way of a retry or a replay who had none.

        Args:
            old: properties of the received message.
            old_body: its body.
            new: properties of what is sent because of it.
            new_body: its body.
        """
        if self._own is None:
            return new
        try:
            signed = self._signed(old, old_body, any_age=True)
        except DecodeError:
            signed = False
        if signed:
            return self.sign(new, new_body)
        return new._replace(headers={key: value for key, value in (new.headers or {}).items() if key != SIGNATURE})

    def _signed(self, properties: PropertiesLike, body: bytes, *, any_age: bool) -> bool:
        """True for a right signature, False for none that can be checked; DecodeError for a wrong one."""
        headers = properties.headers or {}
        found = headers.get(SIGNATURE)
        if found is None:
            return False
        key_id, sent, signature = _parse(found)
        key = self._keys.get(key_id)
        if key is None:
            return False
        try:
            right = key.verify(signature, _covered(properties, headers, key_id, sent, body))
        except (TypeError, ValueError, RecursionError):  # headers that nobody can have signed
            right = False
        if not right:
            raise DecodeError(f"the signature by key {key_id!r} is wrong: the message was changed, or the key differs")
        if self._max_age is not None and not any_age:
            age = clock.wall() - max(sent / 1000, _start(headers.get("eta")))
            if age > self._max_age:
                raise DecodeError(f"the message was signed {age:.0f} s ago, message_max_age is {self._max_age:g} s")
        return True


def _read_keys(keys: object) -> dict[str, HmacKey | Ed25519Key]:
    if keys is None:
        return {}
    if not isinstance(keys, Mapping):
        raise ConfigError(f"message_signing_keys must be a map of key ids to keys, not {type(keys).__name__}")
    read: dict[str, HmacKey | Ed25519Key] = {}
    for key_id, value in keys.items():
        if not isinstance(key_id, str) or not key_id or ":" in key_id:
            raise ConfigError(f"message_signing_keys: {key_id!r} is no key id: a text without ':' is wanted")
        if not isinstance(value, str):
            raise ConfigError(f"message_signing_keys: the key {key_id!r} is no text")
        read[key_id] = Ed25519Key(value) if is_ed25519(value) else HmacKey(value)
    return read


def _parse(found: object) -> tuple[str, int, bytes]:
    try:
        key_id, sent, signature = str(found).split(":")
        return key_id, int(sent), b64decode(signature, validate=True)
    except ValueError:
        raise DecodeError(f"the header {SIGNATURE} is malformed") from None


def _covered(properties: PropertiesLike, headers: Table, key_id: str, sent: int, body: bytes) -> bytes:
    """The signed bytes. JSON has no NUL, so where the body begins is beyond doubt."""
    said = [
        key_id, sent, properties.content_type, properties.content_encoding, properties.reply_to,
        *[headers.get(name) for name in _COVERED],
    ]  # fmt: skip
    return b"amqtask-1 " + _write(said).encode() + b"\0" + body


def _start(eta: Any) -> float:
    """When a delayed message was to begin; its time of waiting is no age."""
    if not isinstance(eta, str):
        return 0.0
    try:
        return datetime.fromisoformat(eta).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0.0
