"""What is done about an order in the background."""

from shop.app import app

from orders.models import Order


@app.task
def charge(order_id: int) -> str:
    """Charge an order. Run twice it charges once: the state says so."""
    order = Order.objects.get(pk=order_id)
    if order.state == "new":
        order.state = "charged"
        order.save(update_fields=["state"])
    return str(order)


@app.task
async def acharge(order_id: int) -> str:
    """The same as a coroutine."""
    order = await Order.objects.aget(pk=order_id)
    order.state = "charged"
    await order.asave(update_fields=["state"])
    return str(order)
