"""What is written into the outbox, what is refused at the call, and how the relay deals with broker and database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest
from recording import RecordingTransport

from amqtask import Amqtask, BrokerUnavailable, chain, chord, clock, group
from amqtask.app.outbox import deliver_each
from amqtask.broker.faults import login_refused
from amqtask.broker.url import parse_urls
from amqtask.errors import (
    AccessRefused,
    BackendError,
    ConfigError,
    EncodeError,
    MessageTooLarge,
    TopologyError,
    Unroutable,
)
from amqtask.outbox.relay import Relay
from amqtask.outbox.rows import message_of, up_to_date
from amqtask.outbox.store import Settled, alone


@pytest.fixture
def url(tmp_path):
    return f"db+sqlite:///{tmp_path}/shop.sqlite"


def made(url, **settings):
    app = Amqtask("shop", outbox_url=url, task_queues=["amqtask", "bad"], **settings)
    app.use_transport(RecordingTransport())

    @app.task(name="charge")
    def charge(number, more=None):
        return number

    return app


@pytest.fixture
def shop(url):
    return made(url)


@pytest.fixture
def charge(shop):
    return shop.tasks["charge"]


@pytest.fixture
def store(shop):
    with closing(shop.outbox_store()) as found:
        found.create()
        yield found


@pytest.fixture
def database(store, tmp_path):
    connection = sqlite3.connect(tmp_path / "shop.sqlite")
    yield connection
    connection.close()


def waiting(store):
    return [message_of(row) for row in store.read()]


def relay(shop, store):
    return Relay(store, lambda messages: deliver_each(shop.producer, messages))


def test_a_row_holds_the_message_that_would_have_been_sent(shop, charge, store, database):
    with database:
        result = shop.outbox(database).apply_async(charge, (1,), {"more": "ü"}, priority=7, headers={"tenant": "x"})
    charge.apply_async((1,), {"more": "ü"}, priority=7, headers={"tenant": "x"}, task_id=result.id)
    (row,), sent = waiting(store), shop.transport.last
    sent = sent._replace(properties=sent.properties._replace(message_id=row.properties.message_id))
    assert row == sent
    assert (result.name, row.properties.message_id) == ("charge", result.id)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda box, task: box.delay(task), TypeError),
        (lambda box, task: box.delay(task, object()), EncodeError),
        (lambda box, task: box.delay(task, "x" * 20_000_000), MessageTooLarge),
        (lambda box, task: box.delay("charge", 1), TypeError),
        (lambda box, task: box.apply_async(task, (1,), contdown=3), TypeError),
        (lambda box, task: box.apply_async(task, (1,), countdown=-3), ConfigError),
        (lambda box, task: box.apply_async(task, (1,), queue="amqtsk"), Unroutable),
        (lambda box, task: box.apply_async(task, (1,), exchange="none", routing_key="x"), Unroutable),
        (lambda box, task: box.apply_async(task, (1,), headers={"x": 1.5}), EncodeError),
        (lambda box, task: box.apply_async(group(chord([task.s(1)], task.s(2)), task.s(3))), ConfigError),
        (lambda box, task: box.apply_async(group(task.s(1), task.s())), TypeError),
    ],
)
def test_what_cannot_be_sent_is_refused_at_the_call(shop, charge, store, database, call, error):
    with pytest.raises(error):
        call(shop.outbox(database), charge)
    assert not database.in_transaction
    assert store.read() == []


def test_connections_of_other_kinds_are_refused(shop):
    with pytest.raises(TypeError, match=r"takes a Session or Connection of SQLAlchemy or a sqlite3\.Connection"):
        shop.outbox("shop.sqlite")
    with pytest.raises(ConfigError, match="Set outbox_url"):
        Amqtask("shop").outbox_store()
    with pytest.raises(ConfigError, match=r"write db\+"):
        Amqtask("shop", outbox_url="sqlite:////tmp/x").outbox_store()


async def _awaited(box, charge):
    await box.adelay(charge, 1)


def test_a_connection_that_is_not_awaited_says_so(shop, charge, database):
    with pytest.raises(TypeError, match=r"call delay\(\)"):
        _awaited(shop.outbox(database), charge).send(None)


def test_composed_work_is_written_with_the_ids_that_are_told(shop, charge, store, database):
    box = shop.outbox(database)
    with database:
        steps = box.apply_async(chain(charge.s(1), charge.s(2)))
        both = box.apply_async(group(charge.s(3), charge.s(4)))
        linked = box.apply_async(charge, (5,), link=charge.s(6))
        counted = box.apply_async(chord([charge.s(7), charge.s(8)], charge.si(9)), queue="bad")
        long = box.apply_async(chain(*[charge.si(at) for at in range(200)]))
    ids = [message.properties.correlation_id for message in waiting(store)]
    assert ids == [steps.parent.id, *(one.id for one in both), linked.id, counted.id, long.id]
    names = [message.properties.headers["task"] for message in waiting(store)]
    assert names == ["charge"] * 4 + ["amqtask.start"] * 2
    assert waiting(store)[4].routing_key == "bad"


def test_eager_tasks_run_at_the_call(url):
    app = made(url, task_always_eager=True)
    assert app.outbox(sqlite3.connect(":memory:")).delay(app.tasks["charge"], 3).get() == 3


def test_no_answer_is_asked_for_by_message(url, tmp_path):
    app = made(url, result_backend="rpc://")
    with closing(app.outbox_store()) as store, closing(sqlite3.connect(tmp_path / "shop.sqlite")) as database:
        store.create()
        with database:
            app.outbox(database).delay(app.tasks["charge"], 1)
            app.outbox(database).apply_async(app.tasks["charge"].s(1))
        assert [message.properties.reply_to for message in waiting(store)] == [None, None]


def test_a_delay_counts_from_the_call(shop, charge, store, database, monkeypatch):
    with database:
        shop.outbox(database).apply_async(charge, (1,), countdown=100, expires=500)
        shop.outbox(database).apply_async(charge, (2,), expires=500)
    delayed, expiring = waiting(store)
    later = clock.utcnow() + timedelta(seconds=60)
    monkeypatch.setattr(clock, "utcnow", lambda: later)
    left = up_to_date(delayed)
    assert delayed.exchange == "amqtask.delay.2"
    ticks = int("".join(f"{int(digit):x}" for digit in left.routing_key.split(".")[1:]), 16)
    assert 300 < ticks <= 400
    assert left.properties.headers == delayed.properties.headers
    assert int(up_to_date(expiring).properties.expiration) <= 440_000
    monkeypatch.setattr(clock, "utcnow", lambda: later + timedelta(hours=1))
    assert up_to_date(delayed).routing_key == "amqtask-delay.0.0.0.0.0.0.0"
    assert up_to_date(expiring).properties.expiration == "0"


def write(shop, database, *queues):
    with database:
        return [shop.outbox(database).apply_async(shop.tasks["charge"], (1,), queue=queue).id for queue in queues]


def sent(shop):
    return [message.properties.correlation_id for message in shop.transport.sent]


@pytest.mark.parametrize("error", [Unroutable("x"), TopologyError("x")])
def test_a_refused_row_stops_no_other(shop, store, database, error, caplog):
    shop.transport.fail("bad", error, times=50)
    _, second, _, third = write(shop, database, "bad", "amqtask", "bad", "amqtask")
    running = relay(shop, store)
    assert running.turn() == 0
    assert sent(shop) == [second, third]
    assert [(row.id, row.attempts) for row in store.read()] == [(1, 1), (3, 1)]
    assert [record.message for record in caplog.records] == [
        f"Row 1 of the outbox and 1 more can't be sent, and is tried again: {store.read()[0].error}"
    ]


@pytest.mark.parametrize(
    "spoilt",
    [
        "[",
        '{"headers": {"eta": 3}}',
        '{"headers": 3}',
        '{"headers": {"task": 1.5}}',
        '{"\\ud800\\u0000": 1}',
        '{"priority": "high"}',
        '{"headers": ' + "[" * 100_000,
    ],
    ids=range(7),
)
def test_a_row_that_somebody_has_spoilt_stops_no_other(shop, store, database, spoilt):
    _, good = write(shop, database, "amqtask", "amqtask")
    with database:
        database.execute("update amqtask_outbox set properties = ? where id = 1", [spoilt])
    relay(shop, store).turn()
    assert sent(shop) == [good]
    (row,) = store.read()
    assert row.error.startswith("DecodeError: the row is no message")
    assert row.error.isascii()
    assert row.error.isprintable()


def test_a_body_that_cannot_be_read_is_sent_once_though_monitors_are_told_what_is_in_it(url, tmp_path):
    app = made(url, task_send_sent_event=True)
    with closing(app.outbox_store()) as store, closing(sqlite3.connect(tmp_path / "shop.sqlite")) as database:
        store.create()
        (one,) = write(app, database, "amqtask")
        with database:
            database.execute("update amqtask_outbox set body = x'00'")
        relay(app, store).turn()
        assert store.read() == []
    assert one in sent(app)


def test_a_broker_that_is_away_is_waited_for_longer_and_longer(shop, store, database, caplog):
    ids = write(shop, database, "amqtask", "amqtask")
    running, away = relay(shop, store), BrokerUnavailable("no broker")
    shop.transport.send_many = lambda messages, timeout: dict.fromkeys(range(len(messages)), away)
    pauses = [running.turn() for _ in range(7)]
    assert pauses == [0.5, 1, 2, 4, 8, 10, 10]
    assert [row.error for row in store.read()] == [None, None]
    assert caplog.text.count("The relay waits: no broker") == 1
    del shop.transport.send_many
    assert running.turn() == 0
    assert sent(shop) == ids


def test_what_may_not_be_published_stops_no_other(shop, store, database):
    with database:
        shop.outbox(database).apply_async(shop.tasks["charge"], (1,), countdown=60)
    (plain,) = write(shop, database, "amqtask")

    def refuse(layout):
        raise AccessRefused("you may not configure that")

    shop.transport.declare = refuse  # what a message with a delay needs
    relay(shop, store).turn()
    assert sent(shop) == [plain]
    assert [row.error for row in store.read()] == ["AccessRefused: you may not configure that"]


def test_a_user_that_may_not_log_in_is_waited_for_and_asked_once(shop, store, database, caplog):
    write(shop, database, "amqtask", "amqtask")
    refused = login_refused(*parse_urls("amqp://shop:secret@localhost"))
    asked = []

    def refuse(messages, timeout):
        asked.append(len(messages))
        raise refused

    shop.transport.send_many = refuse
    assert relay(shop, store).turn() == 0.5
    assert asked == [2]
    assert [row.error for row in store.read()] == [None, None]
    assert "The relay waits: RabbitMQ at localhost:5672 refused user 'shop'" in caplog.text


def test_a_broker_that_goes_while_each_is_tried_alone_is_asked_no_more(shop, store, database):
    write(shop, database, *["amqtask"] * 5)
    asked = []

    def fail(messages, timeout):
        raise TopologyError("one of them")

    def fail_one(message, timeout):
        asked.append(message)
        raise BrokerUnavailable("gone")

    shop.transport.send_many, shop.transport.send = fail, fail_one
    assert relay(shop, store).turn() == 0.5
    assert len(asked) == 1
    assert [row.error for row in store.read()] == [None] * 5


def test_what_was_confirmed_and_could_not_be_deleted_is_deleted_later_and_sent_again_only_by_another(
    shop, store, database
):
    ids = write(shop, database, "amqtask", "amqtask")
    running = relay(shop, store)
    with closing(shop.outbox_store()) as other:
        taken = other.read()

    def fail(messages):
        database.execute("alter table amqtask_outbox rename to away")
        return deliver_each(shop.producer, messages)

    failing = Relay(store, fail)
    assert failing.turn() == 0.5
    assert sent(shop) == ids
    database.execute("alter table away rename to amqtask_outbox")
    assert store.read() == taken
    failing._deliver = pytest.fail
    assert failing.turn() == 0
    assert store.read() == []
    with database:
        database.executemany("insert into amqtask_outbox values (?, 'shop', ?, ?, ?, ?, ?, ?, ?)", taken)
    running.turn()
    assert [message.properties.message_id for message in shop.transport.sent] == ids * 2


def test_a_delayed_row_with_spoilt_headers_stops_no_other(shop, store, database):
    with database:
        shop.outbox(database).apply_async(shop.tasks["charge"], (1,), countdown=60)
        database.execute("""update amqtask_outbox set properties = replace(properties, '"CC":', '"BCC":3,"CC":')""")
    (good,) = write(shop, database, "amqtask")
    relay(shop, store).turn()
    assert good in sent(shop)


def test_what_was_confirmed_is_known_until_it_is_deleted_however_many_come_before_it(shop, store, database):
    ids = write(shop, database, *["amqtask"] * 100)
    with database:
        database.execute("update amqtask_outbox set id = id + 1000")
    running = relay(shop, store)
    database.execute("create trigger keep before delete on amqtask_outbox begin select raise(abort, 'no'); end")
    assert running.turn() == 0.5
    database.execute("drop trigger keep")
    assert sent(shop) == ids
    with database:  # those who began earlier have lower ids, whenever they commit
        for at in range(100):
            shop.outbox(database).delay(shop.tasks["charge"], at)
        database.execute("update amqtask_outbox set id = id - 2000 where id > 1100")
    while store.count():
        running.turn()
    assert sorted(sent(shop)) == sorted(set(sent(shop)))
    assert len(sent(shop)) == 200


def test_rows_that_are_refused_over_and_over_come_after_those_that_are_new(shop, store, database):
    shop.transport.fail("bad", Unroutable("x"), times=10_000)
    write(shop, database, *["bad"] * 150)
    running = relay(shop, store)
    running.turn()
    running.turn()
    with database:
        database.execute("update amqtask_outbox set due = 7")  # all are due again
    (new,) = write(shop, database, "amqtask")
    running.turn()
    assert sent(shop) == [new]


def test_a_row_is_not_held_for_ever_by_a_clock_that_was_wrong(shop, store, database):
    (one,) = write(shop, database, "amqtask")
    with database:
        database.execute("update amqtask_outbox set due = 9999999999, attempts = 3, error = 'x'")
    relay(shop, store).turn()
    assert sent(shop) == [one]


def test_relays_that_call_a_database_by_two_names_have_one_lock(tmp_path):
    (tmp_path / "link.sqlite").symlink_to(tmp_path / "shop.sqlite")
    with alone(f"{tmp_path}/shop.sqlite") as first, alone(f"{tmp_path}/link.sqlite") as second:
        assert (first, second) == (True, False)


def test_large_rows_are_taken_a_few_at_a_time(shop, store, database):
    with database:
        for _ in range(5):
            shop.outbox(database).delay(shop.tasks["charge"], "x" * 12_000_000)
    taken = []

    def settle(rows):
        taken.append([row.id for row in rows])
        return Settled(taken[-1], {})

    while store.work_off(0, 100, settle):
        pass
    assert taken == [[1, 2], [3, 4], [5]]


def test_a_database_that_is_not_there_is_told_and_waited_for(tmp_path, caplog):
    app = made(f"db+sqlite:///{tmp_path}/nowhere/shop.sqlite")
    with closing(app.outbox_store()) as store:
        assert relay(app, store).turn() == 0.5
        with pytest.raises(BackendError):
            store.create()
    assert "The relay waits: the relay's lock" in caplog.text
