"""Says at the start what a worker without a key to sign with can't do. Owns that line of the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from amqtask.wire.signing import Signer
from amqtask.worker.steps.base import Step

if TYPE_CHECKING:
    from amqtask.worker.engine import Engine

logger = logging.getLogger("amqtask.worker")

_UNSIGNED = "results by message, ends of chord members and answers of remote control"


class SigningStep(Step):
    """Such a worker is enough for tasks that send nothing and need no retries; but that should be intended."""

    @classmethod
    def wanted(cls, worker: Engine) -> bool:
        """With keys that only check, or none to sign with where signatures are required."""
        return Signer(worker.app.settings).only_checks

    def start(self) -> None:
        """Say it once."""
        if self.worker.app.settings.message_signing_required:
            text = f"are not retried, and fail when they send or are followed by tasks; {_UNSIGNED}"
        else:
            text = f"send unsigned messages, retries and what follows included; these, {_UNSIGNED}"
        logger.warning(
            "This worker checks signatures and can make none (no message_signing_key). Its tasks %s "
            "are refused wherever signatures are required",
            text,
        )


STEP = SigningStep
