"""Signed messages: only what a holder of a key has sent is acted on. Owns what is covered, and the header.

The header ``x-amqtask-signature`` is ``<key id>:<milliseconds since 1970>:<base64>``. Covered are the body, and those
properties and headers that decide what runs, when, and where the result goes; not those that change on the way through
queues and dead letters. A retry changes covered headers, so whoever sends one signs again (:meth:`Signer.renew`).

What is no task message is signed with what it is *about*: what it is for, and what it belongs to. So a result can't be
passed off as a command, nor the answer to one task as that to another.
"""

from __future__ import annotations

import calendar
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from amqtask import clock
from amqtask.errors import ConfigError, DecodeError
from amqtask.wire.signing_keys import read_keys

if TYPE_CHECKING:
    from amqtask.wire.message import Outgoing, Properties, PropertiesLike, Table

    About = tuple[str | int | None, ...]
    """First one of the words below, then what the message belongs to; empty for task messages."""

SIGNATURE = "x-amqtask-signature"

ANSWER = "answer"
"""The result of a task for its caller; about: the id of the task."""
CHORD = "chord"
"""What lies in a chord's queue; about: queue, message id, place in the header, members more."""
STEPS = "steps"
"""Steps of a long chain that wait in a queue; about: queue, number of the segment."""
REQUEST = "request"
"""Of remote control."""
REPLY = "reply"
"""Of remote control; about: the ticket, and the signature of the request: else one could ask something else by it."""
TOMBSTONE = "tombstone"
"""A revocation that the broker keeps."""
BEAT = "beat"
"""A record of the scheduler; about: queue, type, message id."""

_COVERED = (
    "task", "id", "retries", "eta", "expires", "timelimit", "ignore_result", "group", "group_index", "compression",
)  # fmt: skip
_WHERE_THEY_ARE = "x-amqtask-beat", "x-amqtask-limit-key", "stamps"
"""Covered where they say something, with their names: other messages have the signature that they had before there were
these headers."""


def _as_received(value: Any) -> Any:
    """A value that JSON has not, alike whether AMQP has carried it or not."""
    if isinstance(value, datetime):
        return calendar.timegm(value.utctimetuple())
    if isinstance(value, Decimal):
        return str(value.normalize())
    if isinstance(value, Mapping):
        return dict(value)
    return repr(bytes(value) if isinstance(value, bytearray | memoryview) else value)


_write = json.JSONEncoder(separators=(",", ":"), default=_as_received, sort_keys=True).encode


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
        self._keys = read_keys(settings.message_signing_keys)
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
        return self._own is not None or self._required

    @property
    def checks(self) -> bool:
        """Whether :meth:`verify` does anything."""
        return bool(self._keys)

    @property
    def only_checks(self) -> bool:
        """Whether what this process sends will stay without signatures, although others may require them."""
        unable = self._required or not any(key.can_sign for key in self._keys.values())
        return bool(self._keys) and self._own is None and unable

    @property
    def lacks_key(self) -> bool:
        """Signatures are required, and this process can make none: what it sends would be refused."""
        return self._required and self._own is None

    def sign(self, properties: Properties, body: bytes) -> Properties:
        """The same properties with a signature; the very same ones without a signing key.

        Args:
            properties: of a task message, as they will be sent.
            body: as it will be sent, compressed.

        Raises:
            ConfigError: signatures are required, and there is no key to sign with.
        """
        return self._sign(properties, body, ())

    def signed(self, message: Outgoing, *about: str | int | None, needed: bool = True) -> Outgoing:
        """A message that is no task message, signed if there is a key.

        Args:
            message: as it will be sent.
            about: see the module.
            needed: a signature that is required and can't be made is an error; else the receiver decides.

        Raises:
            ConfigError: signatures are required, and there is no key to sign with.
        """
        if not needed and self._own is None:
            return message
        return message._replace(properties=self._sign(message.properties, message.body, about))

    def signature(self, properties: Properties, body: bytes, *about: str | int | None) -> str | None:
        """The header of a message, for whoever makes the message later; None without a signing key."""
        if self._own is None:
            return None
        sent = int(clock.wall() * 1000)
        data = _covered(properties, properties.headers or {}, self._own, sent, body, about)
        return _written(self._own, sent, self._keys[self._own].sign(data))

    def verify(
        self,
        properties: PropertiesLike,
        body: bytes,
        *about: str | int | None,
        any_age: bool = False,
        within: float | None = None,
    ) -> float | None:
        """Let a message pass, or not.

        Args:
            properties: of the delivery.
            body: as received.
            about: what it is taken for; see the module.
            any_age: leave ``message_max_age`` out of account.
            within: seconds since it was signed, instead of ``message_max_age``.

        Returns:
            When it was signed, in seconds since 1970; None if it has no signature of a key that is here.

        Raises:
            DecodeError: the signature is wrong or too old; or signatures are required, and it has none, or one of a
                key that is not here.
        """
        if not self._keys:
            return None
        oldest = None if any_age else self._max_age if within is None else within
        signed = self._signed_at(properties, body, about, oldest)
        if signed is None and self._required:
            raise DecodeError("the message carries no signature of a known key, and message_signing_required is set")
        return signed

    def renew(self, old: PropertiesLike, old_body: bytes, new: Properties, new_body: bytes) -> Properties:
        """What is made of a received task message, signed if the received one was, at whatever age.

        Nobody gets a signature by way of a retry or a replay who had none. Without a key to sign with, a signature that
        the changes have made wrong is taken away.

        Args:
            old: properties of the received message.
            old_body: its body.
            new: properties of what is sent because of it.
            new_body: its body.

        Raises:
            ConfigError: a signature is required, and can't be made.
        """
        if not self._keys:
            return new
        if self._own is None:
            if self._passes(new, new_body):
                return new
            if self._required:
                raise _no_key()
        elif self._passes(old, old_body):
            return self._sign(new, new_body, ())
        return new._replace(headers={key: value for key, value in (new.headers or {}).items() if key != SIGNATURE})

    def _sign(self, properties: Properties, body: bytes, about: About) -> Properties:
        signature = self.signature(properties, body, *about)
        if signature is not None:
            return properties._replace(headers={**(properties.headers or {}), SIGNATURE: signature})
        if self._required:
            raise _no_key()
        return properties

    def _passes(self, properties: PropertiesLike, body: bytes) -> bool:
        try:
            return self._signed_at(properties, body, (), None) is not None
        except DecodeError:
            return False

    def _signed_at(self, properties: PropertiesLike, body: bytes, about: About, oldest: float | None) -> float | None:
        """The time of a right signature, None for none that can be checked; DecodeError for a wrong one."""
        headers = properties.headers or {}
        found = headers.get(SIGNATURE)
        if found is None:
            return None
        key_id, sent, signature = _parse(found)
        key = self._keys.get(key_id)
        if key is None:
            return None
        try:
            right = key.verify(signature, _covered(properties, headers, key_id, sent, body, about))
            if not right and not self._required:  # versions that signed tasks only; unsigned ones are believed as well
                right = key.verify(signature, _covered(properties, headers, key_id, sent, body, None))
        except (TypeError, ValueError, RecursionError):  # headers that nobody can have signed
            right = False
        if not right:
            if not (self._required or about) and _is_retry(headers):
                return None  # a Celery worker copies all headers into its next attempt, which might as well have none
            raise DecodeError(f"the signature by key {key_id!r} is wrong: the message was changed, or the key differs")
        if oldest is not None:
            age = clock.wall() - max(sent / 1000, _start(headers.get("eta")))
            if age > oldest:
                limit = "the limit" if about else "message_max_age"
                raise DecodeError(f"the message was signed {age:.0f} s ago, {limit} is {oldest:g} s")
        return sent / 1000


def _no_key() -> ConfigError:
    return ConfigError(
        "message_signing_required is set, and this process has no message_signing_key: what it sends would be refused"
    )


def _written(key_id: str, sent: int, signature: bytes) -> str:
    return f"{key_id}:{sent}:{b64encode(signature).decode('ascii')}"


def _parse(found: object) -> tuple[str, int, bytes]:
    try:
        key_id, sent, signature = str(found).split(":")
        parsed = key_id, int(sent), b64decode(signature, validate=True)
    except ValueError:
        parsed = None
    if parsed is None or _written(*parsed) != found:  # else a copy could look new: int() and base64 take many spellings
        raise DecodeError(f"the header {SIGNATURE} is malformed")
    return parsed


def _covered(
    properties: PropertiesLike, headers: Table, key_id: str, sent: int, body: bytes, about: About | None
) -> bytes:
    """The signed bytes, once without ``about``. JSON has no NUL, so where the body begins is beyond doubt."""
    said = [
        key_id, sent, properties.content_type, properties.content_encoding, properties.reply_to,
        *[headers.get(name) for name in _COVERED],
    ]  # fmt: skip
    if about is not None:
        for name in _WHERE_THEY_ARE:
            if (value := headers.get(name)) is not None and value != {}:
                said += name, value
        said += about
    return b"amqtask-1 " + _write(said).encode() + b"\0" + body


def _is_retry(headers: Table) -> bool:
    retries = headers.get("retries")
    return isinstance(retries, int) and retries > 0


def _start(eta: Any) -> float:
    """When a delayed message was to begin; its time of waiting is no age."""
    if not isinstance(eta, str):
        return 0.0
    try:
        return datetime.fromisoformat(eta).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0.0
