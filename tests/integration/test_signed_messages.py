"""Signed messages between an app and its worker."""

from __future__ import annotations

from base64 import b64encode

import pytest
from waiting import wait_for

from amqtask import Amqtask, ConfigError, DecodeError, Queue, chain
from amqtask.app.dead import DeadLetters
from amqtask.beat.service import start_beat
from amqtask.broker.admin import Admin
from amqtask.broker.interface import ConnectionOptions
from amqtask.broker.url import parse_urls
from amqtask.wire.signing import Signer
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

pytestmark = pytest.mark.rabbitmq

SECRET = "a secret that nobody guesses"
KEYS = {"2026": SECRET}
PUBLIC = "ed25519-public:" + b64encode(bytes(range(32))).decode()


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

    @app.task(name="more")
    def more(value):
        return value + 1

    with EmbeddedWorker(app, resolve(Requested(pool="threads", concurrency=1), app.topology, app.settings)):
        yield app
    app.close()


def test_signed_messages_run_and_so_do_their_retries(app):
    assert app.tasks["twice"].delay("value").get(timeout=60) == "value"


def test_messages_of_others_become_dead_letters(app, vhost_url):
    with app_of(vhost_url) as stranger:
        result = stranger.send_task("twice", ["value"])
        with pytest.raises(DecodeError, match="no signature of a known key"):
            result.get(timeout=60)
    forging = {"message_signing_keys": {"2026": SECRET + "!"}, "message_signing_key": "2026"}
    with app_of(vhost_url, **forging) as forger, pytest.raises(DecodeError, match="is wrong"):
        forger.send_task("twice", ["value"]).get(timeout=60)


def test_a_replayed_dead_letter_is_signed_again(app, vhost_url):
    result = app.tasks["once"].delay()
    with pytest.raises(ValueError, match="the first time"):
        result.get(timeout=60)
    with Admin(parse_urls(vhost_url), ConnectionOptions()) as admin:
        letters = DeadLetters(admin, "signed", Signer(app.settings))
        wait_for(lambda: len(letters) == 1)
        result.forget()
        assert letters.retry() == [result.id]
    assert app.AsyncResult(result.id).get(timeout=60) == "replayed"


def test_the_steps_of_a_long_chain_that_wait_in_the_broker_are_signed_too(app):
    more = app.tasks["more"]
    assert chain(more.s(0), *(more.s() for _ in range(69)))().get(timeout=60) == 70


@pytest.mark.parametrize(
    ("required", "text"),
    [(True, "Its tasks are not retried, and fail when they send"), (False, "send unsigned messages")],
)
def test_a_worker_that_can_only_check_says_so_when_it_starts(vhost_url, caplog, required, text):
    with app_of(vhost_url, message_signing_keys={"k": PUBLIC}, message_signing_required=required) as app:
        app.task(name="once")(lambda: None)
        with EmbeddedWorker(app, resolve(Requested(pool="threads", concurrency=1), app.topology, app.settings)):
            (line,) = [one for one in caplog.messages if "can make none (no message_signing_key)" in one]
    assert text in line


def test_a_scheduler_that_could_sign_nothing_does_not_start(vhost_url):
    with app_of(vhost_url, message_signing_keys=KEYS, message_signing_required=True) as app:
        with pytest.raises(ConfigError, match="a scheduler needs a message_signing_key"):
            start_beat(app)
        with pytest.raises(ConfigError, match="what it sends would be refused"):
            app.send_task("once")
        with pytest.raises(ConfigError, match="what it sends would be refused"):
            app.control.revoke("some")
