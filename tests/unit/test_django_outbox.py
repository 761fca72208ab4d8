"""The outbox of a Django project: rows by its own transactions and migrations, worked off by its own connections."""

from __future__ import annotations

from contextlib import closing, suppress
from io import StringIO

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection, connections, transaction
from django_here import configured, forgotten
from recording import RecordingTransport

from amqtask import ConfigError
from amqtask.app.outbox import deliver_each
from amqtask.contrib.django import Amqtask
from amqtask.errors import BackendError, Unroutable
from amqtask.outbox.relay import Relay

configured()


@pytest.fixture
def shop():
    configured()
    app = Amqtask("shop", task_queues=["amqtask", "bad"])
    app.use_transport(RecordingTransport())

    @app.task(name="charge")
    def charge(number): ...

    yield app
    with connection.cursor() as cursor:
        cursor.execute("delete from amqtask_outbox")
    connections.close_all()
    forgotten()


@pytest.fixture
def charge(shop):
    return shop.tasks["charge"]


@pytest.fixture
def store(shop):
    with closing(shop.outbox_store()) as made:
        made.create()
        yield made


def relay(shop, store):
    return Relay(store, lambda messages: deliver_each(shop.producer, messages))


def sent(shop):
    return [message.properties.correlation_id for message in shop.transport.sent]


def test_what_commits_is_sent_and_what_rolls_back_is_not(shop, charge, store):
    with transaction.atomic():
        first = shop.outbox().delay(charge, 1)
        with suppress(KeyError), transaction.atomic():
            shop.outbox().delay(charge, 2)
            raise KeyError
    with suppress(KeyError), transaction.atomic():
        shop.outbox(connection).delay(charge, 3)
        raise KeyError
    with transaction.atomic(), pytest.raises(TypeError):
        shop.outbox().delay(charge)
    last = shop.outbox("default").delay(charge, 4)  # without a transaction it is committed by itself
    assert [row.id for row in store.read()] == sorted(row.id for row in store.read())
    assert store.count() == 2
    assert relay(shop, store).turn() == 0
    assert sent(shop) == [first.id, last.id]
    assert store.read() == []


def test_a_refused_row_stays_and_can_be_tried_again_or_dropped(shop, charge, store):
    shop.transport.fail("bad", Unroutable("no such queue"), times=2)
    with transaction.atomic():
        for queue in ("bad", "amqtask"):
            shop.outbox().apply_async(charge, (1,), queue=queue)
    relay(shop, store).turn()
    (row,) = store.read()
    assert (row.attempts, len(shop.transport.sent)) == (1, 1)
    assert "no such queue" in row.error
    assert store.retry([]) == [row.id]
    assert store.read(1)[0].due == 0
    assert store.drop([row.id, 10_000]) == [row.id]


def test_another_database_is_chosen_by_its_name_or_by_a_url(shop, charge, tmp_path):
    missing = "can't read table amqtask_outbox of database 'other': no such table.*migrate"
    with shop.rebound(outbox_url="other"), closing(shop.outbox_store()) as store, pytest.raises(BackendError) as told:
        store.read()
    assert told.match(missing)
    with shop.rebound(outbox_url="third"), pytest.raises(ConfigError, match="nor one of Django's DATABASES"):
        shop.outbox_store()
    with shop.rebound(outbox_url=f"db+sqlite:///{tmp_path}/x"), closing(shop.outbox_store()) as store:
        store.create()
        assert store.read() == []


def test_without_the_app_of_the_outbox_the_call_says_what_to_install(shop, charge, monkeypatch):
    def missing(*_):
        raise LookupError

    monkeypatch.setattr(apps, "get_model", missing)
    with pytest.raises(ConfigError, match=r'needs "amqtask\.contrib\.django\.outbox" in INSTALLED_APPS'):
        shop.outbox()


def test_the_migration_makes_what_the_model_says(shop):
    out = StringIO()
    call_command("makemigrations", "amqtask_outbox", check=True, dry_run=True, stdout=out)
    assert "No changes detected" in out.getvalue()
