"""Signers with the settings that tests need."""

from __future__ import annotations

from types import SimpleNamespace

from amqtask.wire.signing import Signer

KEYS = {"k": "a secret that nobody guesses"}


def keyed(own: str | None = None, *, required: bool = True) -> Signer:
    """A signer; without a key to sign with and ``required=False`` it has no keys at all."""
    keys = KEYS if own or required else None
    return Signer(
        SimpleNamespace(
            message_signing_keys=keys, message_signing_key=own, message_signing_required=required, message_max_age=None
        )
    )


PLAIN = keyed(required=False)
"""Neither signs nor checks."""
