"""The shop's tests: each has a broker to itself, and takes milliseconds."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from shop import services
from shop.tasks import charge, confirm, place, review

from amqtask import EncodeError

if TYPE_CHECKING:
    from amqtask import Amqtask
    from amqtask.testing import Dead, Drain, Published, TestClock, Vhost, Workers


def test_order_is_charged_and_confirmed(published: Published, drain: Drain) -> None:
    place.delay("A1", "ada@example.org", Decimal("9.50"))
    published(task=place, queue="orders", count=1)

    done = drain()  # starts a worker, and waits until nothing is left to do

    assert (done.succeeded, done.dead, done.delayed) == (3, 0, 1)
    published(task=charge, args=("A1", Decimal("9.50")))
    published(task="shop.mail.confirm", kwargs={"order": "A1"}, queue="mail")
    assert services.outbox == [("ada@example.org", "Thank you for order A1")]


def test_review_is_asked_for_after_three_days(drain: Drain, amqtask_clock: TestClock) -> None:
    place.delay("A1", "ada@example.org", Decimal(1))
    drain()

    amqtask_clock.advance(3 * 24 * 3600)

    assert drain().succeeded == 1
    assert services.outbox[-1] == ("ada@example.org", "How was it?")


def test_mail_is_retried_as_its_queue_says_and_then_given_up(
    drain: Drain, dead: Dead, amqtask_clock: TestClock
) -> None:
    confirm.delay("bob@down.example", order="A1")
    assert drain().retried == 1
    amqtask_clock.advance(30)
    assert drain().retried == 1
    amqtask_clock.advance(600)
    assert drain().dead == 1

    [letter] = dead("mail")
    assert (letter.task, letter.args, letter.attempts) == ("shop.mail.confirm", ("bob@down.example",), 3)
    assert letter.error == "ConnectionError: the mail server is down"


@pytest.mark.redelivered
def test_order_is_charged_once_even_if_its_task_runs_twice(drain: Drain) -> None:
    charge.delay("A1", Decimal(5))

    assert drain().succeeded == 2
    assert services.bank == [("A1", Decimal(5))]


def test_orders_and_mails_have_workers_of_their_own(amqtask_worker: Workers, drain: Drain) -> None:
    amqtask_worker("orders", pool="threads", concurrency=2)
    amqtask_worker("mail", pool="asyncio")
    for number in range(10):
        place.delay(f"A{number}", "ada@example.org", Decimal(number))

    assert drain().succeeded == 30


def test_order_survives_a_lost_connection(amqtask_broker: Vhost, amqtask_worker: Workers, drain: Drain) -> None:
    amqtask_worker()
    amqtask_broker.cut_after_deliveries(1)
    place.delay("A1", "ada@example.org", Decimal(5))

    drain()
    assert services.bank == [("A1", Decimal(5))]


@pytest.mark.usefixtures("amqtask_eager")
def test_tasks_can_run_where_they_are_called() -> None:
    assert review.delay("ada@example.org").id
    assert services.outbox == [("ada@example.org", "How was it?")]
    with pytest.raises(ConnectionError):
        confirm.delay("bob@down.example", order="A1")


def test_argument_that_cannot_be_sent_is_found_without_a_broker(amqtask_eager: Amqtask) -> None:
    assert amqtask_eager.conf.task_serializer == "msgpack"
    with pytest.raises(EncodeError, match="argument 1"):
        review.delay(object())  # type: ignore[arg-type]
