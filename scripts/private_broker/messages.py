"""What the scripts say on stderr."""

from __future__ import annotations

import sys
from typing import NoReturn


def die(message: str, code: int = 69) -> NoReturn:
    print(f"rabbitmq: {message}", file=sys.stderr)
    sys.exit(code)


def say(message: str) -> None:
    print(f"rabbitmq: {message}", file=sys.stderr, flush=True)
