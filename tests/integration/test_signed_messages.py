"""Signed messages between an app and its worker."""

from __future__ import annotations

import pytest
from waiting import wait_for

from amqtask import Amqtask, DecodeError, Queue
from amqtask.app.dead import DeadLetters
from amqtask.broker.admin import Admin
from amqtask.broker.interface import ConnectionOptions
from amqtask.broker.url import parse_urls
from amqtask.wire.signing import Signer
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

pytestmark = pytest.mark.rabbitmq

SECRET = "a secret that nobody guesses"
KEYS = {"2026": SECRET}


def app_of(url, **settings):
    queues = [Queue("signed", type="classic")]
    return Amqtask("signed", broker=url, backend="rpc://", task_queues=queues, task_default_queue="signed", **settings)


@pytest.fixture
def app(vhost_url):
    app = app_of(vhost_url, message_signing_keys=KEYS, message_signing_key="2026", message_signing_required=True)

    seen: list[str] = []

    @app.task(name="once", bind=True, retry=False)
    def once(self):
        if not seen:
            seen.append(self.request.id)
            raise ValueError("the first time")
        return "replayed"

    @app.task(name="twice", bind=True, retry=[0.05])
    def twice(self, value):
        if self.request.retries == 0:
            raise RuntimeError("not yet")
        return value

    with EmbeddedWorker(app, resolve(Requested(pool="threads", concurrency=1), app.topology, app.settings)):
        yield app
    app.close()


def test_signed_messages_run_and_so_do_their_retries(app):
    assert app.tasks["twice"].delay("value").get(timeout=20) == "value"


def test_messages_of_others_become_dead_letters(app, vhost_url):
    with app_of(vhost_url) as stranger:
        result = stranger.send_task("twice", ["value"])
        with pytest.raises(DecodeError, match="no signature of a known key"):
            result.get(timeout=20)
    forging = {"message_signing_keys": {"2026": SECRET + "!"}, "message_signing_key": "2026"}
    with app_of(vhost_url, **forging) as forger, pytest.raises(DecodeError, match="is wrong"):
        forger.send_task("twice", ["value"]).get(timeout=20)


def test_a_replayed_dead_letter_is_signed_again(app, vhost_url):
    result = app.tasks["once"].delay()
    with pytest.raises(ValueError, match="the first time"):
        result.get(timeout=20)
    with Admin(parse_urls(vhost_url), ConnectionOptions()) as admin:
        letters = DeadLetters(admin, "signed", Signer(app.settings))
        wait_for(lambda: len(letters) == 1)
        result.forget()
        assert letters.retry() == [result.id]
    assert app.AsyncResult(result.id).get(timeout=20) == "replayed"
