"""What follows from an exception, and what ``self.retry()`` raises."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from recording import RecordingTransport

from amqtask import Amqtask, Ignore, MaxRetriesExceeded, Queue, Reject, Retry, RetryPolicy, clock
from amqtask.tasks.context import Context, running
from amqtask.tasks.retry import Verdict, next_delay

STEPS = RetryPolicy(delays=(timedelta(seconds=5), timedelta(minutes=1)), max_retries=4)


@pytest.fixture
def app():
    app = Amqtask("shop", task_queues=[Queue("steps", retry=STEPS), Queue("none")])
    app.use_transport(RecordingTransport())
    return app


def task_with(app, **options):
    @app.task(name="work", **options)
    def work(*args):
        pass

    return work


def decide(task, error, retries=0, policy=None, spread=1.0, **more):
    return next_delay(task, policy, retries, error, spread=lambda: spread, **more)


def test_without_any_policy_an_exception_fails_the_task(app):
    decision = decide(task_with(app), error := OSError("x"))
    assert (decision.verdict, decision.error) == (Verdict.FAILED, error)


def test_the_queues_policy_retries_any_exception_by_its_own_delays(app):
    task = task_with(app)
    delays = [decide(task, OSError(), retries, STEPS) for retries in range(5)]
    assert [decision.delay for decision in delays[:4]] == [5, 60, 60, 60]
    assert all(decision.exact for decision in delays[:4])
    assert (delays[4].verdict, delays[4].limit) == (Verdict.EXHAUSTED, 4)


def test_jittered_and_exponential_delays_are_not_exact(app):
    jittered = RetryPolicy(delays=(timedelta(seconds=10),), jitter=0.5)
    decision = decide(task_with(app), OSError(), policy=jittered)
    assert (decision.delay, decision.exact) == (15, False)
    decision = decide(task_with(app), OSError(), 2, RetryPolicy())
    assert (decision.delay, decision.exact) == (4, False)


@pytest.mark.parametrize("error", [Reject("bad"), Ignore()])
def test_reject_and_ignore_are_never_retried(app, error):
    assert decide(task_with(app, autoretry_for=Exception), error, policy=STEPS).verdict is Verdict.FAILED


def test_a_task_can_stay_out_of_the_queues_policy(app):
    task = task_with(app, retry=False)
    assert decide(task, OSError(), policy=STEPS).verdict is Verdict.FAILED
    asked = decide(task, Retry(), policy=STEPS)
    assert (asked.delay, asked.exact, asked.limit) == (180, False, 3)


def test_exceptions_can_be_excepted(app):
    task = task_with(app, dont_autoretry_for=(ValueError,), autoretry_for=(Exception,))
    assert decide(task, UnicodeError(), policy=STEPS).verdict is Verdict.FAILED
    assert decide(task, KeyError(), policy=STEPS).verdict is Verdict.RETRY


def test_autoretry_takes_its_own_arguments(app):
    task = task_with(app, autoretry_for=OSError, retry_kwargs={"countdown": "7s", "max_retries": 1})
    decision = decide(task, ConnectionError())
    assert (decision.verdict, decision.delay, decision.limit) == (Verdict.RETRY, 7, 1)
    assert decide(task, ConnectionError(), 1).verdict is Verdict.EXHAUSTED
    assert decide(task, ValueError()).verdict is Verdict.FAILED
    assert decide(task, ValueError(), policy=STEPS).delay == 5


def test_a_tasks_own_delays_win_over_the_queues(app):
    task = task_with(app, retry=["2s", "4s"])
    assert [decide(task, OSError(), n, STEPS).delay for n in range(2)] == [2, 4]
    assert decide(task, OSError(), 0, STEPS).exact is False
    assert decide(task, OSError(), 2, STEPS).verdict is Verdict.EXHAUSTED


def test_a_tasks_own_delays_with_autoretry_are_for_those_exceptions_only(app):
    task = task_with(app, retry=["2s"], autoretry_for=OSError)
    assert decide(task, OSError()).verdict is Verdict.RETRY
    assert decide(task, ValueError()).verdict is Verdict.FAILED


def test_retry_true_without_a_policy_means_celerys_defaults(app):
    decision = decide(task_with(app, retry=True), OSError())
    assert (decision.verdict, decision.delay, decision.limit) == (Verdict.RETRY, 180, 3)


def test_backoff_doubles_up_to_its_maximum_and_jitter_draws_below(app):
    task = task_with(app, autoretry_for=OSError, retry_backoff=3, retry_backoff_max=20, max_retries=None)
    assert [decide(task, OSError(), n).delay for n in range(4)] == [3, 6, 12, 20]
    assert decide(task, OSError(), 5000, spread=0.5).delay == 10
    steady = task_with(app, autoretry_for=OSError, retry_backoff=True, retry_jitter=False)
    assert decide(steady, OSError(), 1, spread=0.1).delay == 2


def test_what_retry_says_wins_over_everything(app):
    task = task_with(app, max_retries=1, default_retry_delay=9, retry_backoff=5)
    asked = Retry(exc=OSError("cause"), countdown=2, max_retries=8)
    decision = decide(task, asked, 7, STEPS)
    assert (decision.verdict, decision.delay, decision.limit) == (Verdict.RETRY, 2, 8)
    assert decision.error is asked.exc
    assert decide(task, asked, 8, STEPS).verdict is Verdict.EXHAUSTED


@pytest.mark.parametrize(("interop", "hour"), [("celery", 12), (None, 11)])
def test_a_retry_at_a_naive_time_is_due_when_a_call_would_be(interop, hour):
    app = Amqtask("x", timezone="Europe/Berlin", interop=interop)

    @app.task(bind=True)
    def task(self):
        raise self.retry(eta=datetime(2090, 1, 1, 12))  # noqa: DTZ001 -- that is the point

    with pytest.raises(Retry) as caught, running(Context(task.name)):
        task.run()
    assert caught.value.eta == datetime(2090, 1, 1, hour, tzinfo=UTC)


def test_retry_until_a_moment_waits_just_that_long(app, monkeypatch):
    monkeypatch.setattr(clock, "wall", lambda: 1000.0)
    at = clock.utcnow() + timedelta(seconds=42)
    assert decide(task_with(app), Retry(eta=at)).delay == 42
    assert decide(task_with(app), Retry(eta=clock.utcnow() - timedelta(hours=1))).delay == 0


def test_the_tasks_limit_wins_over_the_queues(app):
    assert decide(task_with(app, max_retries=0), OSError(), 0, STEPS).verdict is Verdict.EXHAUSTED
    assert decide(task_with(app, max_retries=None), OSError(), 999, STEPS).limit is None
    assert decide(task_with(app, default_retry_delay=9), Retry(), 0, STEPS).delay == 9


def test_exhausted_without_a_cause_is_max_retries_exceeded(app):
    decision = decide(task_with(app), Retry(), 3)
    assert isinstance(decision.error, MaxRetriesExceeded)
    assert str(decision.error) == "work has used up its 3 retries"


def bound(app, **options):
    @app.task(name="work", bind=True, **options)
    def work(self, **retry):
        raise self.retry(**retry)

    return work


def attempt(task, retries=0, queue="none", **retry):
    context = Context("work", id="x", retries=retries, queue=queue)
    with running(context), pytest.raises(BaseException) as caught:
        task.run(**retry)
    return caught.value, context


def test_self_retry_raises_retry_with_what_was_asked(app):
    error, _ = attempt(bound(app), exc=(cause := OSError()), countdown=3, args=(1,), kwargs={"a": 2}, max_retries=5)
    assert isinstance(error, Retry)
    assert (error.exc, error.countdown, error.args_, error.kwargs_, error.max_retries) == (
        cause,
        3,
        (1,),
        {"a": 2},
        5,
    )
    assert error.__cause__ is cause


def test_self_retry_raises_the_cause_when_no_retry_is_left(app):
    error, context = attempt(bound(app, max_retries=2), retries=2, exc=(cause := OSError("broken")))
    assert error is cause
    assert context.exhausted is cause
    error, _ = attempt(bound(app, max_retries=2), retries=2)
    assert isinstance(error, MaxRetriesExceeded)


def test_the_queues_policy_does_not_revive_a_task_that_used_up_its_own_retries(app):
    error, context = attempt(bound(app), retries=1, queue="steps", exc=OSError(), max_retries=1)
    decision = decide(bound(app), error, 1, STEPS, exhausted=context.exhausted)
    assert (decision.verdict, decision.limit) == (Verdict.EXHAUSTED, 1)


def test_self_retry_follows_the_policy_of_the_queue_it_came_from(app):
    error, _ = attempt(bound(app), retries=3, queue="steps")
    assert isinstance(error, Retry)
    error, _ = attempt(bound(app), retries=3, queue="none")
    assert isinstance(error, MaxRetriesExceeded)


def test_an_exception_given_first_is_taken_as_the_cause_with_a_warning(app):
    @app.task(bind=True)
    def work(self):
        raise self.retry(OSError("seed"))

    with (
        running(Context(work.name, id="x")),
        pytest.warns(UserWarning, match=r"self.retry\(exc=error\)"),
        pytest.raises(Retry) as caught,
    ):
        work.run()
    assert str(caught.value.exc) == "seed"
    assert caught.value.args_ is None


def test_self_retry_can_return_instead_of_raising(app):
    task = bound(app)
    with running(Context("work", id="x")):
        assert isinstance(task.retry(throw=False), Retry)


def test_a_task_called_directly_raises_the_cause(app):
    with pytest.raises(OSError, match="here"):
        bound(app)(exc=OSError("here"))
    with pytest.raises(Retry):
        bound(app)()


def test_the_request_belongs_to_the_task_that_runs(app):
    task = bound(app)
    with running(Context("other", id="x", retries=2)):
        assert task.request.called_directly
    with running(Context("work", id="x", retries=2)):
        assert task.request.retries == 2
