"""Pickle is read where somebody has taken the risk on purpose, and nowhere else: results, and steps of long chains."""

from __future__ import annotations

import pickle

import pytest

from amqtask import Amqtask, ConfigError, ContentRefused
from amqtask.app.checking import check_settings
from amqtask.canvas.parking import find, messages_of
from amqtask.canvas.plan import Parked
from amqtask.contrib.celery import signature
from amqtask.wire.codec import serializers
from amqtask.wire.signing import Signer

KEYS = {
    "message_signing_keys": {"k": "a secret of enough letters"},
    "message_signing_key": "k",
    "message_signing_required": True,
}


class Loud:
    def __reduce__(self):
        return pytest.fail, ("unpickled",)


def document(result):
    return pickle.dumps({"task_id": "t", "status": "SUCCESS", "result": result, "traceback": None, "children": []}, 4)


def made(**settings):
    return Amqtask("x", broker="amqp://localhost", result_backend="redis://localhost", **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"result_accept_content": ["pickle"]},
        {"result_accept_content": ["json", "application/x-python-serialize"]},
        {"result_accept_content": ["pickle"], **KEYS},
        {"accept_content": ["json", "pickle"]},
    ],
    ids=["named", "by content type", "signatures required, which stores have none of", "for tasks too"],
)
def test_results_in_pickle_without_consent_are_a_config_error(settings):
    app = made(**settings)
    with pytest.raises(ConfigError, match="allow_insecure_pickle"):
        app.results.loads(document(Loud()))
    with pytest.raises(ConfigError, match="allow_insecure_pickle"):
        check_settings(app.settings)


def test_signed_tasks_may_be_pickles_and_results_are_none_then():
    app = made(accept_content=["json", "pickle"], **KEYS)
    check_settings(app.settings)
    with pytest.raises(ContentRefused, match="pickle"):
        app.results.loads(document(Loud()))


@pytest.mark.parametrize("settings", [{"result_accept_content": ["pickle"]}, {"accept_content": ["pickle"]}])
def test_results_in_pickle_are_read_on_purpose(settings):
    assert made(allow_insecure_pickle=True, **settings).results.loads(document(5)).result == 5


def test_results_are_accepted_by_content_type():
    app = made(result_accept_content=["application/json"])
    assert app.results.loads(b'{"task_id": "t", "status": "SUCCESS", "result": 5}').result == 5


class Queue:
    def __init__(self, messages):
        self._left = list(messages)

    def get(self, _queue):
        return self._left.pop(0) if self._left else None

    def ack(self, _tag):
        pytest.fail("acked")

    def requeue(self):
        pass


@pytest.mark.parametrize("written", ["json", "msgpack", "yaml"])
def test_parked_steps_are_read_as_they_were_written(written):
    signer = Signer(made().settings)
    steps = signature("t.add", (1,)), signature("t.add", (2,))
    messages = messages_of(Parked("amqtask.chain.x", (steps,)), serializers.get(written), signer)
    read = find(Queue(messages), "amqtask.chain.x", 1, ["msgpack", "json", "yaml"], signer)
    assert [step["args"] for step in read] == [[1], [2]]


def test_parked_steps_are_not_unpickled_where_pickle_is_not_accepted():
    signer = Signer(made().settings)
    (message,) = messages_of(Parked("amqtask.chain.x", ((signature("t.add"),),)), serializers.get("pickle"), signer)
    forged = message._replace(body=pickle.dumps([Loud()]))
    with pytest.raises(ContentRefused, match="python-serialize"):
        find(Queue([forged]), "amqtask.chain.x", 1, ["msgpack", "json"], signer)
