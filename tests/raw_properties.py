"""Message properties as bytes, for what pika itself would not write."""

from __future__ import annotations

import pika


class Raw(pika.BasicProperties):
    """These bytes.

    Args:
        flags: which properties they are.
        data: those, encoded.
    """

    def __init__(self, flags: int, data: bytes) -> None:
        super().__init__()
        self.data = flags.to_bytes(2) + data

    def encode(self) -> list[bytes]:
        return [self.data]
