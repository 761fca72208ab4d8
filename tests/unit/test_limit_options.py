"""Limits as options of tasks and of calls: their notation and their errors."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from recording import RecordingTransport
from shop import make_shop, read

from amqtask import Amqtask, ConfigError, Limit, Retry, group
from amqtask.contrib.celery import Celery
from amqtask.execution.next_attempt import next_key
from amqtask.tasks.limits import LIMIT_KEY, UNLIMITED, Rate, parse_rate
from amqtask.wire.message import TaskMessage


@pytest.mark.parametrize(
    ("written", "rate"),
    [
        ("100/m", Rate(100, 60.0)),
        ("10/s", Rate(10, 1.0)),
        (" 5 / h ", Rate(5, 3600.0)),
        ("7", Rate(7, 1.0)),
        (3, Rate(3, 1.0)),
        (2.5, Rate(5, 2.0)),
        ("0.5/s", Rate(1, 2.0)),
        (0.1, Rate(1, 10.0)),
        ("1.5/m", Rate(3, 120.0)),
        (0, UNLIMITED),
        ("0/m", UNLIMITED),
    ],
)
def test_rates_are_written_as_celery_writes_them(written, rate):
    assert parse_rate(written) == rate
    assert bool(rate) == (rate is not UNLIMITED and rate.count > 0)


@pytest.mark.parametrize("written", ["10/d", "ten", "-1/s", "", True, None, -2, float("nan"), float("inf"), [1]])
def test_what_is_no_rate_is_refused(written):
    with pytest.raises(ConfigError, match="not a rate"):
        parse_rate(written)


@pytest.mark.parametrize("rate", ["100/m", "10/s", "5/h", "0"])
def test_a_rate_is_shown_as_it_was_written(rate):
    assert str(parse_rate(rate)) == rate


def declared(function=None, **options):
    app = Amqtask("limits")

    def work(tenant, *, region="eu"):
        return tenant, region

    return app.task(**options)(function or work)


def test_limits_are_kept():
    options = declared(
        time_limit="1m", soft_time_limit=timedelta(seconds=30), rate_limit="10/m", scope="global", max_concurrency=3
    ).options
    assert (options.time_limit, options.soft_time_limit) == (60.0, 30.0)
    assert (options.rate_limit, options.scope) == (Rate(10, 60.0), "global")
    assert options.max_concurrency == Limit(3)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"time_limit": 5, "soft_time_limit": 6}, "longer than time_limit=5"),
        ({"time_limit": 0}, "more than 0"),
        ({"soft_time_limit": -1}, "not a duration"),
        ({"rate_limit": "often"}, "task option rate_limit: 'often' is not a rate"),
        ({"rate_limit": 1, "scope": "cluster"}, "one of worker, global"),
        ({"scope": "global"}, "give that too"),
        ({"max_concurrency": 0}, "1 or more"),
        ({"max_concurrency": Limit(2, key="tennant")}, "no argument 'tennant'.*'tenant'"),
    ],
)
def test_limits_that_can_not_be_are_refused_where_they_are_declared(options, told):
    with pytest.raises(ConfigError, match=told):
        declared(**options)


@pytest.mark.parametrize("value", ["2", 1.5, True])
def test_max_concurrency_is_a_whole_number(value):
    with pytest.raises(TypeError, match="whole number"):
        declared(max_concurrency=value)


def test_the_misspelling_of_a_limit_names_the_right_one():
    with pytest.raises(TypeError, match="did you mean 'soft_time_limit'"):
        declared(time_soft_limit=60)


class TestKeys:
    @pytest.fixture
    def sent(self):
        transport = RecordingTransport()
        app = make_shop(transport)

        def send(limit, *args, **kwargs):
            @app.task(name="plain.work", max_concurrency=limit)
            def work(tenant, size=1, *, region="eu"):
                return tenant, size, region

            work.delay(*args, **kwargs)
            return transport.last

        return send

    @pytest.mark.parametrize(
        ("key", "args", "kwargs", "expected"),
        [
            ("tenant", ("acme",), {}, "acme"),
            ("tenant", (), {"tenant": "acme"}, "acme"),
            ("size", ("acme",), {}, "1"),
            ("size", ("acme", 7), {}, "7"),
            ("region", ("acme",), {}, "eu"),
            ("region", ("acme",), {"region": "us"}, "us"),
            (lambda tenant, **_: tenant[:2], ("acme",), {}, "ac"),
        ],
    )
    def test_the_sender_writes_the_key_into_a_header(self, sent, key, args, kwargs, expected):
        message = sent(Limit(2, key=key), *args, **kwargs)
        assert message.properties.headers[LIMIT_KEY] == expected

    def test_a_limit_without_a_key_needs_no_header(self, sent):
        assert LIMIT_KEY not in sent(5, "acme").properties.headers

    def test_a_long_key_is_shortened_and_stays_a_key(self, sent):
        one, same, other = (sent(Limit(1, key="tenant"), "x" * 500 + end) for end in "aab")
        keys = [message.properties.headers[LIMIT_KEY] for message in (one, same, other)]
        assert keys[0] == keys[1] != keys[2]
        assert len(keys[0]) < 100

    def test_a_key_that_can_not_be_had_is_told_to_the_sender(self, sent):
        with pytest.raises(ConfigError, match="ZeroDivisionError"):
            sent(Limit(2, key=lambda tenant: 1 / 0), "acme")

    def test_each_step_of_a_canvas_has_the_key_of_its_own_arguments(self):
        transport = RecordingTransport()
        app = make_shop(transport)

        @app.task(name="plain.work", max_concurrency=Limit(1, key="tenant"))
        def work(tenant):
            return tenant

        group(work.s("a"), work.si("b"), work.map(["c"])).apply_async()
        assert [message.properties.headers.get(LIMIT_KEY) for message in transport.sent] == ["a", "b", None]

    def test_a_retry_with_other_arguments_counts_for_their_key(self):
        limit = Limit(1, key="tenant").bound_to(lambda tenant: None, "t")
        message = TaskMessage("t", "id", ("a",))
        assert next_key(limit, message, Retry(args=("b",))) == {LIMIT_KEY: "b"}
        assert next_key(limit, message, Retry(kwargs={})) == {LIMIT_KEY: "a"}
        assert next_key(limit, message, ValueError()) == {}
        assert next_key(Limit(1), message, Retry(args=("b",))) == {}

    def test_options_that_come_later_find_their_key_too(self):
        task = declared()
        task.options = replace(task.options, max_concurrency=Limit(1, key="tenant"))
        assert task.options.max_concurrency.key_of(("a",), {}) == "a"


def test_limits_of_celerys_programs_are_options_like_any_other(caplog):
    app = Celery("limits")

    class Base(app.Task):
        rate_limit = "10/m"

    @app.task(base=Base, time_limit=10, soft_time_limit=5)
    def work():
        pass

    assert (work.options.time_limit, work.options.soft_time_limit) == (10, 5)
    assert work.options.rate_limit == Rate(10, 60)
    assert not caplog.records


class TestTimeLimitsOfCalls:
    @pytest.fixture
    def task(self):
        self.transport = RecordingTransport()
        return make_shop(self.transport).task(name="plain.work")(lambda: None)

    def test_they_travel_with_the_message(self, task):
        task.apply_async(time_limit=timedelta(minutes=1), soft_time_limit=2.5)
        assert read(self.transport.last).timelimit == (60.0, 2.5)

    def test_a_soft_limit_beyond_the_hard_one_is_refused(self, task):
        with pytest.raises(ConfigError, match="plain.work: soft_time_limit=9 is longer"):
            task.apply_async(time_limit=5, soft_time_limit=9)
        assert not self.transport.sent
