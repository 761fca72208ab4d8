"""The keys that messages are signed and checked with. Owns shared secrets, and reading the setting."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from amqtask.errors import ConfigError
from amqtask.wire.ed25519 import PEM, PUBLIC, Ed25519Key, is_ed25519

_SECRET_MIN = 16
"""Characters of a secret; shorter ones can be guessed."""


class HmacKey:
    """A shared secret, used with HMAC-SHA256. Thread-safe.

    Raises:
        ConfigError: it is too short, or has a key in it that may be public.
    """

    can_sign = True

    def __init__(self, value: str) -> None:
        if len(value) < _SECRET_MIN:
            raise ConfigError(
                f"message_signing_keys: a secret has less than {_SECRET_MIN} characters; make one with "
                "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
        if PEM in value or PUBLIC in value:
            raise ConfigError("message_signing_keys: a key pair's text with something before it is not a secret")
        self._secret = value.encode()

    def sign(self, data: bytes) -> bytes:
        """The signature, 32 bytes."""
        return hmac.digest(self._secret, data, "sha256")

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Whether the signature is this key's; takes the same time for every wrong one."""
        return hmac.compare_digest(signature, self.sign(data))


def read_keys(keys: object) -> dict[str, HmacKey | Ed25519Key]:
    """The keys of the setting ``message_signing_keys``, by their ids; none for None.

    Raises:
        ConfigError: it is no map of texts, or a key can't be used; never shows a key.
    """
    if keys is None:
        return {}
    if not isinstance(keys, Mapping):
        raise ConfigError(f"message_signing_keys must be a map of key ids to keys, not {type(keys).__name__}")
    read: dict[str, HmacKey | Ed25519Key] = {}
    for key_id, value in keys.items():
        if not isinstance(key_id, str) or not key_id or ":" in key_id:
            raise ConfigError(f"message_signing_keys: {key_id!r} is not a key id: text without ':' is required")
        if not isinstance(value, str):
            raise ConfigError(f"message_signing_keys: the key {key_id!r} is not text")
        read[key_id] = Ed25519Key(value) if is_ed25519(value) else HmacKey(value)
    return read
