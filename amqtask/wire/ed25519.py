"""Ed25519 keys: who can check a signature can't make one. Owns their spellings; needs the extra ``auth``."""

from __future__ import annotations

import importlib
from base64 import b64decode
from typing import TYPE_CHECKING, Any

from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

PRIVATE, PUBLIC, PEM = "ed25519:", "ed25519-public:", "-----BEGIN "


def is_ed25519(value: str) -> bool:
    """Whether a configured key is one of these, with white space around it or without."""
    return value.strip().startswith((PRIVATE, PUBLIC, PEM))


class Ed25519Key:
    """A key pair, or the public half of one. Thread-safe.

    Args:
        value: ``ed25519:`` and the private key, or ``ed25519-public:`` and the public one, 32 bytes in base64; or
            either as PEM text (``openssl genpkey -algorithm ed25519``).

    Raises:
        ConfigError: the key can't be read, or the library is missing.
    """

    def __init__(self, value: str) -> None:
        library = _import("cryptography.hazmat.primitives.asymmetric.ed25519")
        try:
            key = _read(value.strip(), library)
        except Exception as error:
            raise ConfigError(f"message_signing_keys: an Ed25519 key can't be read: {error}") from None
        if isinstance(key, library.Ed25519PrivateKey):
            self._sign: Callable[[bytes], bytes] | None = key.sign
            self._check: Callable[[bytes, bytes], None] = key.public_key().verify
        elif isinstance(key, library.Ed25519PublicKey):
            self._sign, self._check = None, key.verify
        else:
            raise ConfigError("message_signing_keys: a PEM key is not an Ed25519 key")

    @property
    def can_sign(self) -> bool:
        """Whether the private half is here."""
        return self._sign is not None

    def sign(self, data: bytes) -> bytes:
        """The signature, 64 bytes."""
        assert self._sign is not None
        return self._sign(data)

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Whether the signature is this key's."""
        try:
            self._check(signature, data)
        except Exception:
            return False
        return True


def _read(value: str, library: Any) -> Any:
    if value.startswith(PRIVATE):
        return library.Ed25519PrivateKey.from_private_bytes(b64decode(value.removeprefix(PRIVATE), validate=True))
    if value.startswith(PUBLIC):
        return library.Ed25519PublicKey.from_public_bytes(b64decode(value.removeprefix(PUBLIC), validate=True))
    pem = _import("cryptography.hazmat.primitives.serialization")
    if "PRIVATE" in value.partition("\n")[0]:
        return pem.load_pem_private_key(value.encode(), None)
    return pem.load_pem_public_key(value.encode())


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError('Ed25519 keys need a library: pip install "amqtask[auth]"') from None
