"""Calls with the options of Celery's callers: ``apply_async``, ``retry``, ``send_task``, and ``self.request``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from kombu import Exchange as KombuExchange
from kombu import Queue as KombuQueue
from pool_host import job_for
from shop import read

from amqtask import Amqtask, Exchange, Queue
from amqtask.contrib.celery import Celery, Task, uuid
from amqtask.contrib.celery.absent import Unavailable
from amqtask.contrib.celery.exceptions import QueueNotFound, SecurityError, Terminated
from amqtask.errors import ConfigError
from amqtask.execution.executor import Executor
from amqtask.execution.job import Kind
from amqtask.wire.compression import CONTENT_TYPES, compress

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def app(transport):
    queues = [Queue("feeds", Exchange("ex", "topic"), routing_key="feed.#"), Queue("prio")]
    made = Celery("calls", task_queues=queues, task_default_queue="prio", timezone="Europe/Berlin")
    made.use_transport(transport)
    return made


@pytest.fixture
def add(app):
    return app.task(name="add")(lambda x, y=1: x + y)


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"queue": "feeds", "routing_key": "feed.import"}, ("", "feeds")),
        ({"queue": "feeds", "exchange": "ex", "routing_key": "feed.import"}, ("ex", "feed.import")),
        ({"queue": "prio", "exchange": "default", "routing_key": "prio"}, ("", "prio")),
        ({"queue": KombuQueue("prio", KombuExchange("prio"), "prio")}, ("", "prio")),
        ({"exchange": KombuExchange("ex"), "routing_key": "feed.x"}, ("ex", "feed.x")),
    ],
)
def test_a_queue_may_stand_beside_an_exchange_and_a_key(add, transport, options, where):
    add.apply_async((1,), **options)
    assert (transport.last.exchange, transport.last.routing_key) == where


@pytest.mark.parametrize(("given", "sent"), [(10, 10), (300, 255), (-1, 0)])
def test_a_priority_is_held_to_what_amqp_carries(app, add, transport, given, sent):
    add.apply_async((1,), priority=given)
    assert transport.last.properties.priority == sent
    app.task(name="urgent", priority=given)(lambda: None).delay()
    assert transport.last.properties.priority == sent


def test_times_may_be_in_the_past_both_given_and_texts(add, transport):
    add.apply_async((1,), countdown=-5, expires="2030-01-02T03:04:05+00:00")
    assert read(transport.last).eta is None
    assert read(transport.last).expires == datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    add.apply_async((1,), eta=NOW.isoformat(), expires=-1)
    assert read(transport.last).eta == NOW
    assert read(transport.last).expires <= datetime.now(UTC)
    add.apply_async((1,), eta=NOW, countdown=60)
    assert read(transport.last).eta > datetime.now(UTC) + timedelta(seconds=50)


def test_naive_times_are_utc_as_celery_has_it_whatever_the_zone(add, transport):
    naive = datetime(2090, 1, 2, 3, 4)  # noqa: DTZ001 -- Celery's programs write this
    for given in (naive, naive.isoformat()):
        add.apply_async((1,), eta=given, expires=given)
        assert read(transport.last).eta == read(transport.last).expires == naive.replace(tzinfo=UTC)


def test_a_worker_takes_naive_times_of_a_message_as_utc(app):
    app.task(name="now")(lambda: None)
    soon = (datetime.now(UTC) + timedelta(minutes=30)).replace(tzinfo=None).isoformat()
    assert run(app, job_for(1, "now", headers={"expires": soon})).kind == Kind.SUCCESS


def test_a_delay_beyond_the_ladder_waits_as_long_as_it_can_and_keeps_its_eta(add, transport):
    add.apply_async((1,), countdown=400 * 86_400)
    assert transport.last.routing_key == "amqtask-delay.15.15.15.15.15.15.15"
    assert read(transport.last).eta > datetime.now(UTC) + timedelta(days=399)


def test_a_call_may_have_a_place_in_a_canvas_and_words_for_its_arguments(add, transport):
    place = {"group_id": "g", "root_id": "r", "parent_id": "p", "group_index": 2}
    add.apply_async((1,), **place, argsrepr="(***)", delivery_mode=1, correlation_id="c", mandatory=True)
    message, properties = read(transport.last), transport.last.properties
    assert (message.group, message.root_id, message.parent_id, message.group_index) == ("g", "r", "p", 2)
    assert (properties.headers["argsrepr"], properties.delivery_mode) == ("(***)", 1)
    assert properties.correlation_id == message.id


def test_what_nobody_knows_is_left_out_with_a_warning_and_what_carries_work_is_refused(add, transport, caplog):
    add.apply_async((1,), countdwn=5)
    assert "unknown option countdwn ignored; did you mean 'countdown'?" in caplog.text
    with pytest.raises(TypeError, match="unknown option 'chord'"):
        add.apply_async((1,), chord=add.s())
    assert len(transport.sent) == 1


def test_arguments_may_be_positional_as_at_celery(add, transport):
    assert add.apply_async([1], {"y": 2}, "an-id").id == "an-id"
    assert add.app.send_task("add", None, {"x": 1}, retry=False, priority=10).id
    assert transport.last.properties.priority == 10


def test_limits_that_contradict_each_other_are_those_that_celery_keeps(add, transport):
    add.apply_async((1,), time_limit=5, soft_time_limit=10)
    assert read(transport.last).timelimit == (5, None)


@pytest.mark.parametrize("options", [{"priority": 10}, {"countdown": -5}, {"queue": "q", "routing_key": "q"}])
def test_an_app_of_amqtasks_own_stays_strict(transport, options):
    app = Amqtask("strict")
    app.use_transport(transport)
    with pytest.raises(ConfigError):
        app.task(name="add")(lambda: None).apply_async(**options)


@pytest.mark.parametrize("make", [Amqtask, Celery])
def test_send_task_sends_callbacks_too(make, transport):
    app = make("links")
    app.use_transport(transport)
    then = app.signature("then")
    app.send_task("first", (1,), link=then)
    (callback,) = read(transport.last).embed["callbacks"]
    assert callback["task"] == "then"


# ---- retry


def run(app, job):
    made = Executor(app, "w@here", log_results=True)
    outcome = made.run(job)
    made.leave_thread()
    return outcome


def test_a_retry_may_go_elsewhere_and_keeps_what_is_not_said(app):
    @app.task(name="moves", bind=True)
    def moves(self, *args):
        raise self.retry((7,), None, None, True, None, 60, queue="feeds", priority=10, headers={"b": 2}, foo=1)

    job = job_for(1, "moves", 1, headers={"a": 1, "CC": ["x"]}, retries=1, group="g", stamps={"s": "1"})
    outcome = run(app, job._replace(reply_to="caller", priority=3))
    assert (outcome.kind, outcome.delay) == (Kind.RETRY, 60)
    (sent,) = outcome.after.messages
    again, headers = read(sent), sent.properties.headers
    assert (again.id, again.retries, again.args, again.group) == (job.headers["id"], 2, (7,), "g")
    assert (headers["BCC"], headers["a"], headers["b"], again.stamps) == (["amqtask.delay.to.feeds"], 1, 2, {"s": "1"})
    assert (sent.properties.priority, sent.properties.reply_to) == (10, "caller")
    assert (sent.properties.correlation_id, sent.properties.content_type) == (again.id, job.content_type)


def test_a_retry_that_says_only_how_stays_in_its_queue(app):
    @app.task(name="slower", bind=True)
    def slower(self):
        raise self.retry(countdown=0, time_limit=50, eta=None)

    (sent,) = run(app, job_for(1, "slower")).after.messages
    assert (sent.exchange, sent.routing_key, read(sent).timelimit) == ("", "amqtask", (50, None))


@pytest.mark.parametrize("compression", ["application/x-gzip", "zlib", "application/x-bz2", "", None, {}])
def test_a_retry_with_options_is_compressed_like_the_message(app, compression):
    @app.task(name="packed", bind=True)
    def packed(self, text):
        raise self.retry(countdown=1, queue="feeds")

    job = job_for(1, "packed", "x" * 5000, headers={"compression": compression})
    if compression:
        names = {content_type: name for name, content_type in CONTENT_TYPES.items()}
        job = job._replace(body=compress(job.body, names.get(compression, compression))[0])
    outcome = run(app, job)
    assert outcome.kind == Kind.RETRY, outcome.text
    (sent,) = outcome.after.messages
    assert (len(sent.body) < 1000, read(sent).args) == (bool(compression), ("x" * 5000,))


def test_a_retry_that_cannot_be_sent_fails_the_task(app):
    @app.task(name="wrong", bind=True)
    def wrong(self):
        raise self.retry(countdown=0, priority="high")

    outcome = run(app, job_for(1, "wrong"))
    assert (outcome.kind, outcome.text[:9]) == (Kind.FAILED, "TypeError")


@pytest.mark.parametrize(
    ("options", "text"),
    [({"que": "q"}, "did you mean 'queue'"), ({"priority": 10}, "0 to 9"), ({"queue": "q", "exchange": "e"}, "either")],
)
def test_options_of_a_retry_are_checked_in_amqtasks_own_apps(options, text):
    app = Amqtask("strict")

    @app.task(name="wrong", bind=True)
    def wrong(self):
        raise self.retry(**options)

    outcome = run(app, job_for(1, "wrong"))
    assert outcome.kind == Kind.FAILED
    assert text in outcome.error[1]


def test_a_retry_may_be_due_at_a_naive_time(app):
    @app.task(name="later", bind=True)
    def later(self):
        raise self.retry(eta=datetime(2090, 1, 1))  # noqa: DTZ001 -- Celery's programs do

    outcome = run(app, job_for(1, "later"))
    assert outcome.kind == Kind.RETRY
    left = datetime(2090, 1, 1, tzinfo=UTC) - datetime.now(UTC)
    assert outcome.delay == pytest.approx(left.total_seconds(), abs=60)


# ---- self.request, and the task itself


def test_the_request_has_what_celerys_has(app):
    seen = {}

    @app.task(name="look", bind=True)
    def look(self):
        request = self.request
        request.mine = 1
        seen.update({name: request.get(name) for name in ("group", "chord", "callbacks", "timelimit", "origin", "eta")})
        seen["options"], seen["words"] = request.as_execution_options(), (request.argsrepr, request.get("nothing", 5))

    embed = {"callbacks": [{"task": "then"}], "chord": {"task": "body"}}
    run(app, job_for(1, "look", embed=embed, group="g", timelimit=(9, None), eta=NOW, headers={"origin": "gen1@there"}))
    assert seen["options"].pop("task_id")
    assert (seen["group"], seen["chord"], seen["callbacks"]) == ("g", {"task": "body"}, [{"task": "then"}])
    assert (seen["timelimit"], seen["origin"], seen["eta"]) == ([9, None], "gen1@there", NOW.isoformat())
    assert seen["words"] == ("()", 5)
    assert (seen["options"]["group_id"], seen["options"]["time_limit"]) == ("g", 9)


def test_the_request_shows_nothing_of_how_its_message_has_waited(app):
    seen = {}

    @app.task(name="look", bind=True)
    def look(self):
        seen.update(self.request.delivery_info, headers=dict(self.request.headers))

    job = job_for(1, "look", headers={"tenant": 7, "CC": ["amqtask"], "x-death": [{}], "x-first-death-queue": "d"})
    run(app, job._replace(exchange="", routing_key="amqtask-delay.0.0.0.0.0.1.2"))
    assert (seen["exchange"], seen["routing_key"], seen["headers"]) == ("", "amqtask", {"tenant": 7})


def test_options_of_a_task_are_attributes(app):
    class Slow(Task):
        rate_limit = "10/m"

    task = app.task(name="slow", base=Slow, time_limit=5, acks_late=True)(lambda: None)
    assert (task.rate_limit, task.time_limit, task.acks_late, task.ignore_result) == ("10/m", 5, True, False)
    plain = app.task(name="plain", rate_limit="10/m")(lambda: None)
    assert (plain.rate_limit, plain.serializer, plain.soft_time_limit) == ("10/m", "json", None)
    with pytest.raises(AttributeError, match="no_such"):
        _ = task.no_such


def test_an_app_says_the_time_and_what_it_lacks(app, add):
    assert (str(app.timezone), app.now().tzinfo) == ("Europe/Berlin", app.timezone)
    assert len(uuid()) == 36
    assert all(issubclass(kind, Exception) for kind in (Terminated, QueueNotFound, SecurityError))
    with pytest.raises(Unavailable, match="AsyncResult"):
        add.backend.get("x")
    with pytest.raises(Unavailable, match="get_task_logger"):
        app.log.get_default_logger()


def test_a_task_tells_its_own_state_only(app):
    @app.task(name="tells", bind=True)
    def tells(self, other=None):
        self.update_state(other or self.request.id, "PROGRESS", {"done": 1})
        self.update_state(state="PROGRESS", meta={"done": 2})

    assert run(app, job_for(1, "tells")).kind == Kind.SUCCESS
    assert run(app, job_for(1, "tells", "another")).kind == Kind.FAILED
