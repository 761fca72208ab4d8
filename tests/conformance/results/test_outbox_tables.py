"""The outbox on every SQL database that results are tested with: written by transactions, worked off by relays."""

from __future__ import annotations

import asyncio
from contextlib import closing, suppress

import pytest
from django.db import connections, transaction
from django_here import configured, forgotten
from recording import RecordingTransport
from sqlalchemy import orm

from amqtask import Amqtask
from amqtask.app.outbox import Outbox, deliver_each
from amqtask.contrib.django.outbox.rows import DjangoStore, DjangoWriter
from amqtask.errors import Unroutable
from amqtask.outbox.relay import Relay
from amqtask.outbox.store import Held, Settled
from amqtask.sql import sa
from amqtask.wire.ids import new_id

pytestmark = pytest.mark.parametrize("place", ["mariadb", "postgresql", "sqlite"], indirect=True)

DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"}


def user_url(place):
    scheme, _, rest = place.url.removeprefix("db+").partition("://")
    return f"{DRIVERS.get(scheme, scheme)}://{rest}"


@pytest.fixture
def shop(place):
    app = Amqtask(f"shop-{new_id()}", outbox_url=place.url, task_queues=["amqtask", "bad"])
    app.use_transport(RecordingTransport())
    return app


@pytest.fixture
def charge(shop):
    @shop.task(name="charge")
    def charge(text, more=None): ...

    return charge


@pytest.fixture
def store(shop):
    with closing(shop.outbox_store()) as made:
        made.create()
        made.create()  # as often as one likes
        yield made


@pytest.fixture
def engine(place, store):
    made = sa.create_engine(user_url(place))
    yield made
    made.dispose()


def relay(shop, store):
    return Relay(store, lambda messages: deliver_each(shop.producer, messages))


def ids(shop):
    return [message.properties.correlation_id for message in shop.transport.sent]


def test_what_commits_is_sent_in_order_and_what_rolls_back_is_not(shop, charge, store, engine):
    with orm.Session(engine) as session, session.begin():
        first = shop.outbox(session).delay(charge, "ü\0", more=b"\xff\0")
        with suppress(KeyError), session.begin_nested():
            shop.outbox(session).delay(charge, "never")
            raise KeyError
        assert relay(shop, store).turn() > 0
        assert ids(shop) == []
        large = shop.outbox(session).delay(charge, "x" * 3_000_000)
    with suppress(KeyError), engine.begin() as connection:
        shop.outbox(connection).delay(charge, "never")
        raise KeyError
    with engine.begin() as connection:
        last = shop.outbox(orm.scoped_session(orm.sessionmaker(connection))).delay(charge, "last")
    assert relay(shop, store).turn() == 0
    assert ids(shop) == [first.id, large.id, last.id]
    assert store.read() == []


def test_a_transaction_that_is_open_holds_up_no_other(shop, charge, store, engine, place):
    if place.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    with engine.connect() as slow, engine.connect() as quick:
        with slow.begin():
            later = shop.outbox(slow).delay(charge, "slow")
            with quick.begin():  # more than two: MySQL goes another way for those
                sooner = [shop.outbox(quick).delay(charge, "quick").id for _ in range(5)]
            assert store.work_off(0, 100, lambda rows: Settled([], {row.id: Held(7, "refused") for row in rows})) == 5
            assert len(store.retry([])) == 5
            relay(shop, store).turn()
            assert ids(shop) == sooner
        assert relay(shop, store).turn() == 0
    assert ids(shop) == [*sooner, later.id]


def test_one_relay_at_a_time_has_rows_and_writers_wait_for_none(shop, charge, store, engine):
    with engine.begin() as connection:
        shop.outbox(connection).delay(charge, "first")
    found = []

    def settle(rows):
        with closing(shop.outbox_store()) as other:
            found.append(other.work_off(0, 100, pytest.fail))
        with engine.begin() as connection:
            shop.outbox(connection).delay(charge, "meanwhile")
        return Settled([row.id for row in rows], {})

    assert store.work_off(0, 100, settle) == 1
    assert found == [None]
    with closing(shop.outbox_store()) as other:
        assert relay(shop, other).turn() == 0
    assert len(ids(shop)) == 1
    assert store.work_off(0, 100, pytest.fail) == 0


def test_a_row_that_is_refused_stays_with_its_error_and_the_others_are_sent(shop, charge, store, engine):
    shop.transport.fail("bad", Unroutable("no such queue, he says"), times=2)  # once more after declaring
    with engine.begin() as connection:
        for queue in ("bad", "amqtask", "amqtask"):
            shop.outbox(connection).apply_async(charge, (queue,), queue=queue)
    relay(shop, store).turn()
    (row,) = store.read()
    assert (row.attempts, store.count(), len(shop.transport.sent)) == (1, 1, 2)
    assert "no such queue, he says" in row.error
    assert store.retry([row.id + 1]) == []
    assert store.retry([]) == [row.id]
    assert relay(shop, store).turn() == 0
    assert len(shop.transport.sent) == 3
    assert store.read() == []


def test_rows_can_be_dropped_and_belong_to_one_app(shop, charge, store, engine, place):
    with engine.begin() as connection:
        shop.outbox(connection).delay(charge, "a")
        shop.outbox(connection).delay(charge, "b")
    with closing(Amqtask("other", outbox_url=place.url).outbox_store()) as other:
        assert other.read() == []
        assert other.drop([row.id for row in store.read()]) == []
    first, second = store.read()
    assert store.drop([first.id, 1_000_000]) == [first.id]
    assert store.read(1) == [second]


@pytest.fixture
def in_django(place):
    """A name under which Django has the database."""
    if place.name == "mariadb":
        pytest.skip("Django's driver for it, mysqlclient, is not among the packages of the tests")
    configured()
    url = sa.make_url(user_url(place))
    kind = "sqlite3" if place.name == "sqlite" else "postgresql"
    said = {"NAME": url.database, "USER": url.username, "PASSWORD": url.password, "HOST": url.host, "PORT": url.port}
    entry = {"ENGINE": f"django.db.backends.{kind}", **said}
    connections.settings["shop"] = connections.configure_settings({"default": {}, "shop": entry})["shop"]
    yield "shop"
    connections["shop"].close()
    del connections["shop"]
    del connections.settings["shop"]
    forgotten()


def test_django_and_sqlalchemy_share_a_table(shop, charge, store, in_django, engine):
    def settle(rows):
        found.append((len(rows), store.work_off(0, 100, pytest.fail)))
        return Settled([], {rows[1].id: Held(7, "refused")})

    found = []
    rows = DjangoStore(in_django, shop.main)
    with transaction.atomic(using=in_django):
        first = Outbox(shop, DjangoWriter(in_django)).delay(charge, "a", more=b"\xff\0")
        Outbox(shop, DjangoWriter(in_django)).delay(charge, "b")
    assert rows.work_off(0, 100, settle) == 2
    assert found == [(2, None)]
    assert [(row.error, row.due, row.attempts) for row in store.read()] == [(None, 0, 0), ("refused", 7, 1)]
    assert store.work_off(0, 100, lambda _: Settled([], {})) == 1  # by its own lock, which the other has given back
    relay(shop, rows).turn()
    assert ids(shop)[0] == first.id
    assert len(ids(shop)) == 2
    assert store.read() == rows.read() == []


def test_a_session_that_is_awaited(shop, charge, store, place):
    if place.name != "postgresql":
        pytest.skip("there is no asynchronous driver here")

    async def program():
        from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

        engine = create_async_engine(user_url(place))
        async with AsyncSession(engine) as session:
            async with session.begin():
                outbox = shop.outbox(session)
                with pytest.raises(TypeError, match="await adelay"):
                    outbox.delay(charge, "never")
                sent = [await outbox.adelay(charge, "a"), await outbox.aapply_async(charge, ("b",), priority=9)]
            await shop.outbox(session).adelay(charge, "never")
        await engine.dispose()
        return [one.id for one in sent]

    expected = asyncio.run(program())
    relay(shop, store).turn()
    assert ids(shop) == expected
