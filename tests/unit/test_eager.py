"""Eager calls: a task that runs here goes through what its message would go through."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from amqtask import Amqtask, EncodeError, Exchange, Ignore, MessageTooLarge, Queue, Reject, Route, UnknownTask
from amqtask.errors import AmqtaskError, MaxRetriesExceeded
from amqtask.results.eager import EagerResult
from amqtask.topology.declarations import RetryPolicy


def make_app(**settings):
    settings.setdefault("task_queues", [Queue("emails", Exchange("tasks", "topic"), routing_key="email.#")])
    settings.setdefault("task_routes", [Route("mail.*", exchange="tasks", routing_key="email.send", priority=7)])
    return Amqtask("shop", **settings)


@pytest.fixture
def app():
    return make_app()


@pytest.fixture
def eager_app():
    return make_app(task_always_eager=True)


def add_to(app, name="mail.add", **options):
    @app.task(name=name, **options)
    def add(a, b=2):
        return a + b

    return add


# -- apply


def test_apply_runs_the_task_and_holds_what_it_returned(app):
    result = add_to(app).apply((1,), {"b": 3})
    assert result.get() == result.result == 4
    assert (result.state, result.successful(), result.failed(), result.ready()) == ("SUCCESS", True, False, True)
    assert (result.name, result.retries, result.traceback) == ("mail.add", 0, None)


def test_apply_needs_no_broker(app):
    add_to(app).apply((1,))
    assert "own" not in app._wiring.__dict__


def test_arguments_arrive_as_they_would_in_a_worker(app):
    @app.task
    def kinds(*values, **named):
        return values, named

    moment = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    values, named = kinds.apply(((1, 2), {3}, Decimal("1.5")), {"when": moment}).get()
    assert values == ([1, 2], {3}, Decimal("1.5"))
    assert named == {"when": moment}


def test_argument_that_cannot_be_sent_is_refused_as_by_delay(app):
    with pytest.raises(EncodeError, match="argument 1 can't be sent"):
        add_to(app).apply((object(),))


def test_header_that_amqp_cannot_carry_is_refused(app):
    with pytest.raises(EncodeError, match="header 'load'"):
        add_to(app).apply((1,), headers={"load": 0.5})


def test_body_over_the_limit_is_refused():
    app = make_app(broker_max_message_size=100)
    with pytest.raises(MessageTooLarge):
        add_to(app).apply(("x" * 200,))


def test_arguments_that_do_not_fit_the_function_are_refused(app):
    with pytest.raises(TypeError):
        add_to(app).apply((1, 2, 3))


def test_message_that_workers_do_not_accept_fails_as_it_would_there():
    app = make_app(accept_content=["json"])
    result = add_to(app).apply((1,))
    assert result.state == "FAILURE"
    with pytest.raises(AmqtaskError, match="is not accepted"):
        result.get()


def test_request_is_filled_as_in_a_worker(app):
    @app.task(name="mail.look", bind=True)
    def look(self):
        return self.request

    request = look.apply(task_id="known", headers={"tenant": 7}, expires=60).get()
    assert (request.id, request.task, request.queue, request.retries) == ("known", "mail.look", "emails", 0)
    assert (request.headers, request.is_eager, request.called_directly) == ({"tenant": 7}, True, False)
    assert request.delivery_info["routing_key"] == "email.send"
    assert request.priority == 7
    assert request.expires > datetime.now(UTC)
    assert request.hostname.startswith("eager@")


def test_request_of_a_plain_call_is_not_eager(app):
    @app.task(bind=True)
    def look(self):
        return self.request.is_eager

    assert look() is False


def test_delayed_call_runs_at_once_in_its_own_queue(app):
    @app.task(name="mail.later", bind=True)
    def later(self):
        return self.request.queue, self.request.headers, self.request.eta

    queue, headers, eta = later.apply(countdown=3600).get()
    assert (queue, headers) == ("emails", {})
    assert eta > datetime.now(UTC) + timedelta(minutes=59)


# -- failures and retries


def test_failure_is_kept_with_its_traceback_and_raised_by_get(app):
    @app.task
    def fails():
        raise ValueError("no")

    result = fails.apply()
    assert result.failed()
    assert isinstance(result.result, ValueError)
    assert isinstance(result.get(propagate=False), ValueError)
    assert 'raise ValueError("no")' in result.traceback
    with pytest.raises(ValueError, match="no") as caught:
        result.get()
    assert caught.traceback[-1].name == "fails"


def test_throw_raises_what_the_task_raised(app):
    @app.task
    def fails():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fails.apply(throw=True)


def test_setting_makes_apply_raise_unless_told_otherwise():
    app = make_app(task_eager_propagates=True)

    @app.task
    def fails():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fails.apply()
    assert fails.apply(throw=False).failed()


def test_retries_follow_at_once_with_the_same_id_and_growing_count(app):
    seen = []

    @app.task(bind=True, max_retries=3)
    def flaky(self, number):
        seen.append((self.request.id, self.request.retries, number))
        if len(seen) < 3:
            raise self.retry(args=(number + 1,), countdown=3600)
        return "done"

    result = flaky.apply((10,), task_id="t")
    assert result.get() == "done"
    assert result.retries == 2
    assert seen == [("t", 0, 10), ("t", 1, 11), ("t", 2, 12)]


def test_last_retry_raises_the_cause(app):
    @app.task(bind=True, max_retries=1)
    def never(self):
        raise self.retry(exc=KeyError("x"))

    result = never.apply()
    assert (result.state, result.retries) == ("FAILURE", 1)
    with pytest.raises(KeyError):
        result.get()


def test_retry_without_cause_ends_with_max_retries_exceeded(app):
    @app.task(bind=True, max_retries=2)
    def never(self):
        raise self.retry()

    with pytest.raises(MaxRetriesExceeded):
        never.apply(throw=True)


def test_policy_of_the_queue_retries_any_exception():
    queue = Queue("amqtask", retry=RetryPolicy((timedelta(hours=1),), max_retries=2))
    app = make_app(task_queues=[queue], task_routes=[])
    runs = []

    @app.task
    def fails():
        runs.append(1)
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        fails.apply(throw=True)
    assert len(runs) == 3


def test_retry_with_arguments_that_cannot_be_sent_fails(app):
    @app.task(bind=True)
    def again(self):
        raise self.retry(args=(object(),))

    result = again.apply()
    assert result.failed()
    assert "can't be sent" in result.traceback


def test_task_that_retries_for_ever_is_stopped(app):
    @app.task(bind=True, max_retries=None)
    def forever(self):
        raise self.retry(exc=OSError("down"))

    with pytest.raises(AmqtaskError, match="has been retried 1000 times"):
        forever.apply()


@pytest.mark.parametrize(("error", "state"), [(Reject("bad"), "REJECTED"), (Reject("again", requeue=True), "REJECTED")])
def test_rejected_task_says_why(app, error, state):
    @app.task
    def rejects():
        raise error

    result = rejects.apply()
    assert result.state == state
    with pytest.raises(Reject):
        result.get()


def test_ignored_task_has_no_result(app):
    @app.task
    def ignores():
        raise Ignore

    result = ignores.apply()
    assert (result.state, result.get()) == ("IGNORED", None)


def test_expired_task_is_not_run(app):
    ran = []

    @app.task
    def late():
        ran.append(1)

    result = late.apply(expires=datetime.now(UTC) - timedelta(seconds=1))
    assert (result.state, ran) == ("REVOKED", [])
    with pytest.raises(AmqtaskError, match="expired at"):
        result.get()


def test_exit_of_the_program_is_a_failure_but_an_interrupt_ends_the_caller(app):
    @app.task
    def leaves(kind):
        raise {"exit": SystemExit(1), "interrupt": KeyboardInterrupt()}[kind]

    assert leaves.apply(("exit",)).failed()
    with pytest.raises(KeyboardInterrupt):
        leaves.apply(("interrupt",))


# -- coroutines


def test_async_task_runs_without_a_loop(app):
    @app.task
    async def double(number):
        await asyncio.sleep(0)
        return number * 2

    before = threading.active_count()
    assert double.apply((4,)).get() == 8
    assert threading.active_count() == before


def test_async_task_runs_beside_a_running_loop(app):
    @app.task
    async def double(number):
        return number * 2

    async def main():
        return double.apply((4,)).get()

    assert asyncio.run(main()) == 8


def test_aapply_runs_on_the_running_loop_and_retries(app):
    loops = []

    @app.task(bind=True)
    async def flaky(self):
        loops.append(asyncio.get_running_loop())
        if self.request.retries < 2:
            raise self.retry(countdown=60)
        return self.request.retries

    async def main():
        assert (await flaky.aapply()).get() == 2
        assert set(loops) == {asyncio.get_running_loop()}

    asyncio.run(main())


def test_cancelling_the_caller_is_not_a_failure_of_the_task(app):
    @app.task
    async def waits():
        await asyncio.Event().wait()

    async def main():
        task = asyncio.create_task(waits.aapply())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


# -- task_always_eager


def test_delay_runs_here(eager_app):
    result = add_to(eager_app).delay(1)
    assert isinstance(result, EagerResult)
    assert result.get() == 3


def test_every_way_to_send_runs_here(eager_app):
    add = add_to(eager_app)

    async def main():
        results = [await add.adelay(1), await add.aapply_async((2,)), await eager_app.asend_task("mail.add", (3,))]
        return [result.get() for result in results]

    assert asyncio.run(main()) == [3, 4, 5]
    assert [result.get() for result in add.delay_many([(1,), {"a": 2, "b": 5}])] == [3, 7]
    assert eager_app.send_task("mail.add", (5,)).get() == 7
    assert add.apply_async((6,), countdown=60).get() == 8


def test_task_sent_by_a_task_is_its_child(eager_app):
    @eager_app.task(bind=True)
    def child(self):
        return self.request.parent_id, self.request.root_id

    @eager_app.task(bind=True)
    def parent(self):
        return child.delay().get()

    result = parent.delay()
    assert result.get() == (result.id, result.id)


def test_async_task_sent_by_an_async_task_runs_too(eager_app):
    @eager_app.task(bind=True)
    async def child(self):
        return self.request.parent_id

    @eager_app.task
    async def parent():
        return child.delay().get(), (await child.adelay()).get()

    result = parent.delay()
    assert result.get() == (result.id, result.id)


def test_failure_is_silent_unless_it_propagates(eager_app):
    @eager_app.task
    def fails():
        raise ValueError("no")

    assert fails.delay().failed()
    with eager_app.rebound(task_eager_propagates=True), pytest.raises(ValueError, match="no"):
        fails.delay()


def test_task_that_is_not_known_here_is_refused(eager_app):
    add_to(eager_app)
    with pytest.raises(UnknownTask, match=r"did you mean.*import the module"):
        eager_app.send_task("mail.ad")
