"""The tasks of the shop: orders are charged once and confirmed by mail."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from amqtask import Amqtask
from shop import services

if TYPE_CHECKING:
    from decimal import Decimal

app = Amqtask("shop", routing=Path(__file__).parent.parent / "routing.yaml")


@app.task(name="shop.order.place")
def place(order: str, address: str, total: Decimal) -> None:
    """Charge an order and confirm it; remind of a review after three days."""
    charge.delay(order, total)
    confirm.delay(address, order=order)
    review.apply_async((address,), countdown=3 * 24 * 3600)


@app.task(name="shop.order.charge")
def charge(order: str, total: Decimal) -> None:
    """Charge an order, once: a task may run twice."""
    if order not in services.charged:
        services.charged[order] = total
        services.bank.append((order, total))


@app.task(name="shop.mail.confirm")
def confirm(address: str, order: str) -> str:
    """Send a confirmation; the queue's policy retries when the mail server is down."""
    return services.send_mail(address, f"Thank you for order {order}")


@app.task(name="shop.mail.review")
async def review(address: str) -> str:
    """Ask for a review."""
    return services.send_mail(address, "How was it?")
