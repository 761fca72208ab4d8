"""What the scripts say on stderr, and the codes they end with."""

from __future__ import annotations

import sys
from typing import NoReturn

FAILED = 69
"""Something went wrong, or was asked for wrongly."""
UNAVAILABLE = 77
"""This RabbitMQ can't be had on this machine: nothing is broken, and nothing more can be done about it here."""


def die(message: str, code: int = FAILED) -> NoReturn:
    print(f"rabbitmq: {message}", file=sys.stderr)
    sys.exit(code)


def say(message: str) -> None:
    print(f"rabbitmq: {message}", file=sys.stderr, flush=True)
