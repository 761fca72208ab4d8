"""What the shop talks to: stand-ins for a database, a bank and a mail server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal

charged: dict[str, Decimal] = {}
bank: list[tuple[str, Decimal]] = []
outbox: list[tuple[str, str]] = []


def send_mail(address: str, text: str) -> str:
    """Send a mail; the addresses of one domain never work."""
    if address.endswith("@down.example"):
        raise ConnectionError("the mail server is down")
    outbox.append((address, text))
    return address
