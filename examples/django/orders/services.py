"""What views do."""

from django.db import transaction

from amqtask import AsyncResult
from orders.models import Order
from orders.tasks import charge


@transaction.atomic
def place(item: str) -> tuple[Order, AsyncResult[str]]:
    """Store an order and have it charged; returns both. The task is sent when the order can be read."""
    order = Order.objects.create(item=item)
    return order, charge.delay_on_commit(order.pk)
