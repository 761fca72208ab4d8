"""Calling tasks: what reaches the transport, and what is refused before."""

from __future__ import annotations

import asyncio
import zoneinfo
from datetime import UTC, datetime, timedelta

import pytest
from shop import make_shop, read, task_of

from amqtask import (
    Amqtask,
    AsyncResult,
    BrokerUnavailable,
    ConfigError,
    EncodeError,
    PartialPublish,
    Queue,
    QueueFull,
    Unroutable,
)
from amqtask.tasks.context import Context, running
from amqtask.topology.declarations import QueueDeclare


def test_delay_sends_one_lean_message_and_returns_its_id(shop, transport):
    result = task_of(shop).delay(1, b=3)
    message = transport.last
    assert isinstance(result, AsyncResult)
    assert (str(result), result.name) == (message.properties.correlation_id, "plain.add")
    assert message.properties.headers == {"task": "plain.add", "id": result.id}
    assert (message.exchange, message.routing_key) == ("", "plain")
    assert (message.properties.priority, message.properties.delivery_mode) == (0, 2)
    assert (read(message).args, read(message).kwargs) == ((1,), {"b": 3})


def test_without_any_declaration_tasks_go_to_the_default_queue(transport):
    app = Amqtask("shop", task_default_queue="mine")
    app.use_transport(transport)
    task_of(app).delay(1)
    assert (transport.last.exchange, transport.last.routing_key) == ("", "mine")


def test_a_route_gives_exchange_key_and_priority(shop, transport):
    task_of(shop, "mail.send").delay(1)
    message = transport.last
    assert (message.exchange, message.routing_key, message.properties.priority) == ("tasks", "email.send", 7)


def test_the_call_wins_over_the_task_and_the_task_over_the_route(shop, transport):
    task = task_of(shop, "mail.send", queue="plain", priority=3, serializer="json")
    task.delay(1)
    message = transport.last
    assert (message.exchange, message.routing_key, message.properties.priority) == ("", "plain", 3)
    assert message.properties.content_type == "application/json"
    task.apply_async((1,), exchange="tasks", routing_key="email.x", priority=9, serializer="yaml")
    message = transport.last
    assert (message.exchange, message.routing_key, message.properties.priority) == ("tasks", "email.x", 9)
    assert message.properties.content_type == "application/x-yaml"
    assert read(message).args == (1,)


def test_a_routing_key_alone_keeps_the_exchange_of_the_route(shop, transport):
    task_of(shop, "mail.send").apply_async((1,), routing_key="email.urgent")
    assert (transport.last.exchange, transport.last.routing_key) == ("tasks", "email.urgent")


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((), {}, "missing 1 required positional argument: 'a'"),
        ((1, 2, 3), {}, "takes from 1 to 2 positional arguments but 3 were given"),
        ((1,), {"c": 1}, "unexpected keyword argument 'c'"),
        ((1,), {"a": 1}, "multiple values for argument 'a'"),
    ],
)
def test_wrong_arguments_are_a_type_error_before_anything_is_sent(shop, transport, args, kwargs, text):
    task = task_of(shop)
    with pytest.raises(TypeError, match=rf"plain\.add\(\) .*{text}"):
        task.delay(*args, **kwargs)
    with pytest.raises(TypeError, match=text):
        task.apply_async(args, kwargs)
    with pytest.raises(TypeError, match=text):
        shop.send_task("plain.add", args, kwargs)
    with pytest.raises(TypeError, match=text):
        asyncio.run(task.adelay(*args, **kwargs))
    assert transport.sent == []


def test_every_kind_of_parameter_is_checked(shop, transport):
    @shop.task(bind=True)
    def work(self, first, /, second=0, *rest, key, other=1, **more):
        pass

    work.delay(1, 2, 3, key=4, anything=5)
    for args, kwargs in [((), {"key": 1}), ((1,), {}), ((), {"first": 1})]:
        with pytest.raises(TypeError):
            work.delay(*args, **kwargs)
    assert len(transport.sent) == 1


def test_arguments_that_cannot_be_written_are_named(shop, transport):
    task = task_of(shop)
    with pytest.raises(EncodeError, match=r"plain\.add: argument 1 can't be sent: object can't be written"):
        task.delay(object())
    with pytest.raises(EncodeError, match=r"argument 'b' can't be sent: .*JSON"):
        task.apply_async((1,), {"b": {1: object()}}, serializer="json")
    assert transport.sent == []


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"link": print}, "link"),
        ({"link_error": [print]}, "link_error"),
        ({"serializer": "json", "link": print}, "link"),
    ],
)
def test_callbacks_that_cannot_be_written_are_named(shop, transport, options, what):
    once = rf"^plain\.add: {what} can't be sent: [^:]* can't be written as [^:]*: <[^:]*>$"
    with pytest.raises(EncodeError, match=once):
        task_of(shop).apply_async((1,), **options)
    assert transport.sent == []


def test_a_chain_whose_later_step_cannot_be_written_says_so(shop):
    task = task_of(shop)
    with pytest.raises(EncodeError, match=r"^plain\.add: a later step of its chain can't be sent: object can't be"):
        (task.s(1) | task.s(object())).delay()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"countdwn": 1}, TypeError, "unknown option 'countdwn'; did you mean 'countdown'"),
        ({"priority": 12}, ConfigError, "0 to 9"),
        ({"priority": "9"}, TypeError, "whole number"),
        ({"countdown": 1, "eta": datetime.now(UTC)}, ConfigError, "either countdown or eta"),
        ({"countdown": -1}, ConfigError, "countdown: -1"),
        ({"countdown": 400 * 86400}, ConfigError, "too long"),
        ({"eta": "2030-01-01"}, TypeError, "eta must be a datetime"),
        ({"expires": "never"}, ConfigError, "expires: 'never'"),
        ({"queue": "plain", "exchange": "tasks"}, ConfigError, "either queue"),
        ({"task_id": ""}, TypeError, "task_id must be a text"),
        ({"serializer": "pickel"}, ConfigError, "unknown serializer 'pickel'"),
        ({"compression": "zip"}, ConfigError, "unknown compression 'zip'"),
        ({"headers": {"retries": 3}}, ConfigError, "belongs to the message protocol"),
        ({"headers": {1: 3}}, TypeError, "header's name"),
        ({"exchange": "nowhere", "countdown": 1}, ConfigError, "countdown and eta need a queue"),
    ],
)
def test_a_wrong_call_option_is_refused_before_anything_is_sent(shop, transport, options, error, text):
    with pytest.raises(error, match=text):
        task_of(shop).apply_async((1,), **options)
    assert transport.sent == []


def test_arguments_given_as_a_text_are_refused(shop):
    with pytest.raises(TypeError, match="not the text 'ab'"):
        task_of(shop).apply_async("ab")


def test_call_options_reach_the_message(shop, transport):
    result = task_of(shop).apply_async(
        (1,), task_id="mine", headers={"tenant": 7}, ignore_result=True, reply_to="answers"
    )
    message = read(transport.last)
    assert (result.id, message.id) == ("mine", "mine")
    assert message.headers == {"tenant": 7}
    assert message.ignore_result is True
    assert transport.last.properties.reply_to == "answers"


def test_a_countdown_enters_the_delay_ladder_and_names_the_queue(shop, transport):
    task_of(shop, "mail.send").apply_async((1,), countdown=2.5)
    message = transport.last
    assert (message.exchange, message.routing_key) == ("amqtask.delay.1", "amqtask-delay.0.0.0.0.0.1.9")
    assert message.properties.headers["CC"] == ["emails"]
    eta = read(message).eta
    assert timedelta(seconds=2) < eta - datetime.now(UTC) <= timedelta(seconds=2.5)


def test_the_queue_of_a_delayed_message_is_made_sure_of_once(shop, transport):
    task = task_of(shop, "mail.send")
    for _ in range(3):
        task.apply_async((1,), countdown=2.5)
    assert len(transport.declared) == 1
    names = [step.name for step in transport.declared[0] if isinstance(step, QueueDeclare)]
    assert "emails" in names
    assert "amqtask.delay.1.15" in names
    assert "plain" not in names


def test_a_time_in_the_past_is_no_delay(shop, transport):
    task_of(shop).apply_async((1,), eta=datetime(2020, 1, 1, tzinfo=UTC))
    task_of(shop).apply_async((1,), countdown=0)
    assert [message.routing_key for message in transport.sent] == ["plain", "plain"]


@pytest.mark.skipif("Asia/Tokyo" not in zoneinfo.available_timezones(), reason="no time zone data here")
def test_naive_times_are_in_the_configured_zone(transport):
    app = make_shop(transport, timezone="Asia/Tokyo")
    task_of(app).apply_async((1,), eta=datetime(2020, 1, 1, 9, 0))  # noqa: DTZ001
    assert read(transport.last).eta == datetime(2020, 1, 1, tzinfo=UTC)


def test_an_unknown_time_zone_is_refused(transport):
    app = make_shop(transport, timezone="Asia/Nowhere")
    with pytest.raises(ConfigError, match="setting timezone: 'Asia/Nowhere'"):
        task_of(app).delay(1)


def test_expires_sets_the_header_and_the_brokers_own_expiration(shop, transport):
    task_of(shop, expires=60).delay(1)
    message = transport.last
    assert 59_000 < int(message.properties.expiration) <= 60_000
    left = read(message).expires - datetime.now(UTC)
    assert timedelta(seconds=59) < left <= timedelta(seconds=60)
    task_of(shop, "plain.far").apply_async((1,), expires=timedelta(days=90))
    assert transport.last.properties.expiration is None
    assert read(transport.last).expires is not None


@pytest.mark.parametrize(
    "awaited",
    [
        lambda app: task_of(app).apply_async((1,), expires=60),
        lambda app: task_of(app).s(1).set(expires=60).delay(),
        lambda app: task_of(app).apply_async((1,), expires=60, ignore_result=True, link_error=task_of(app).s()),
        lambda app: task_of(app).apply_async((1,), expires=60, ignore_result=True, reply_to="somebody"),
        lambda app: (task_of(app).si(1).set(expires=60, ignore_result=True) | task_of(app).si(2)).delay(),
    ],
    ids=["stored", "signature", "errback", "answer", "chain"],
)
def test_whoever_waits_for_a_task_is_told_by_a_worker_that_it_has_expired(transport, tmp_path, awaited):
    """So the broker must not throw its message away, which it would do without a word."""
    app = make_shop(transport, result_backend=f"file://{tmp_path}")
    awaited(app)
    assert read(transport.last).expires is not None
    assert transport.last.properties.expiration is None
    task_of(app).apply_async((1,), expires=60, ignore_result=True, link=task_of(app).s())
    assert transport.last.properties.expiration is not None


def test_a_delayed_message_expires_by_its_header_only(shop, transport):
    task_of(shop).apply_async((1,), countdown=10, expires=5)
    assert transport.last.properties.expiration is None
    assert read(transport.last).expires is not None


def test_only_bodies_of_some_size_are_compressed(transport):
    app = make_shop(transport, task_compression="zlib", task_compression_min=100)
    task = task_of(app)
    task.delay("short")
    assert "compression" not in transport.last.properties.headers
    task.delay("long " * 100)
    assert transport.last.properties.headers["compression"] == "application/x-gzip"
    assert len(transport.last.body) < 100
    assert read(transport.last).args == ("long " * 100,)


def test_a_task_sent_by_a_task_knows_its_parent_and_root(shop, transport):
    task = task_of(shop)
    with running(Context("plain.outer", id="child", root_id="root")):
        task.delay(1)
    assert (read(transport.last).parent_id, read(transport.last).root_id) == ("child", "root")


def test_send_task_needs_no_declaration_but_uses_one(shop, transport):
    result = shop.send_task("plain.unknown", [1], {"x": 2}, priority=5)
    assert (result.name, transport.last.routing_key) == ("plain.unknown", "plain")
    task_of(shop, "mail.known", priority=4)
    shop.send_task("mail.known", (1,))
    assert transport.last.properties.priority == 4
    with pytest.raises(TypeError, match="unknown option 'quue'; did you mean 'queue'"):
        shop.send_task("plain.unknown", quue="x")


def test_delay_many_takes_tuples_and_dicts_and_keeps_the_order(shop, transport):
    results = task_of(shop).delay_many([(1,), {"a": 2, "b": 3}, [4, 5]])
    assert [read(message).args for message in transport.sent] == [(1,), (), (4, 5)]
    assert [message.properties.correlation_id for message in transport.sent] == [str(r) for r in results]
    assert task_of(shop).delay_many([]) == []


def test_delay_many_sends_nothing_when_one_call_is_wrong(shop, transport):
    with pytest.raises(TypeError, match=r"call 1: plain\.add"):
        task_of(shop).delay_many([(1,), (), (2,)])
    with pytest.raises(TypeError, match="call 0: a tuple, list or dict"):
        task_of(shop).delay_many([7])
    assert transport.sent == []


def test_delay_many_says_which_messages_failed(transport):
    app = Amqtask("shop", task_queues=[Queue("amqtask", max_length=2)])
    app.use_transport(transport)
    transport.fail("amqtask", QueueFull("full"))
    with pytest.raises(PartialPublish, match="1 of 3 messages failed; first, index 0: full") as caught:
        task_of(app).delay_many([(1,), (2,), (3,)])
    assert list(caught.value.errors) == [0]
    assert list(caught.value.ids[1:]) == [message.properties.correlation_id for message in transport.sent]


@pytest.mark.parametrize("failing", ["send_many", "declare"])
def test_delay_many_says_what_is_confirmed_when_the_broker_goes_before_the_rest_is_sent(transport, failing):
    app = Amqtask("shop")
    app.use_transport(transport)
    refusal = QueueFull("a young queue") if failing == "send_many" else Unroutable("no queue")
    transport.fail("amqtask", refusal)
    send_many = transport.send_many

    def gone(*_args, **_options):
        raise BrokerUnavailable("gone")

    def once(messages, *, timeout):
        setattr(transport, failing, gone)
        return send_many(messages, timeout=timeout)

    transport.send_many = once
    with pytest.raises(PartialPublish, match="1 of 3 messages failed; first, index 0: gone"):
        task_of(app).delay_many([(1,), (2,), (3,)])
    assert len(transport.sent) == 2


def test_async_calls_send_the_same_messages(shop, transport):
    @shop.task(name="plain.async")
    async def work(a):
        return a

    async def main():
        first = await work.adelay(1)
        second = await work.aapply_async((2,), countdown=1)
        third = await shop.asend_task("plain.async", (3,))
        return [first, second, third, await work(4)]

    *results, local = asyncio.run(main())
    assert local == 4
    assert [message.properties.correlation_id for message in transport.sent] == [str(r) for r in results]
    assert [read(message).args for message in transport.sent] == [(1,), (2,), (3,)]
    assert len(transport.declared) == 1


def test_calling_a_task_runs_it_here(shop, transport):
    @shop.task(bind=True)
    def work(self, a):
        return self.request.called_directly, self.request.args, a

    assert work(5) == (True, (5,), 5)
    assert work.request.called_directly
    assert transport.sent == []


def test_results_are_values():
    assert AsyncResult("a", "t") == AsyncResult("a", "t")
    assert len({AsyncResult("a", "t"), AsyncResult("a", "t"), AsyncResult("b", "t")}) == 2
    assert repr(AsyncResult("a", "t")) == "<AsyncResult: t[a]>"


def test_include_is_imported_on_demand(tmp_path, monkeypatch):
    (tmp_path / "included_tasks.py").write_text("LOADED = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    Amqtask("shop", include="included_tasks").load_tasks()
    with pytest.raises(ConfigError, match="no module 'missing_tasks'"):
        Amqtask("shop", include=["missing_tasks"]).load_tasks()


def test_two_topologies_are_refused():
    app = Amqtask("shop", routing="routing.yaml", task_queues=[Queue("a")])
    with pytest.raises(ConfigError, match="either routing or task_queues"):
        _ = app.topology


def test_accept_content_is_checked():
    with pytest.raises(ConfigError, match=r"unknown serializer 'jason'; .*did you mean 'json'"):
        _ = Amqtask("shop", accept_content=["jason"]).accept_content
