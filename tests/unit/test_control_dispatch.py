"""What a worker answers to requests, without a broker."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from signing_settings import PLAIN, keyed

from amqtask import clock
from amqtask.control import control_command, inspect_command
from amqtask.control.messages import Names, Request, request_message
from amqtask.control.registry import commands
from amqtask.errors import ConfigError, DecodeError
from amqtask.wire.lamport import LamportClock
from amqtask.wire.message import Properties
from amqtask.wire.signing import REPLY, REQUEST, SIGNATURE
from amqtask.worker.control.commands import load_commands
from amqtask.worker.control.dispatch import Dispatcher

NAMES = Names("celery")


@pytest.fixture
def declared():
    load_commands()
    before = dict(commands)
    yield
    commands.clear()
    commands.update(before)


@pytest.fixture
def ask(declared):
    panel = SimpleNamespace(app=None, hostname="w1@h", clock=LamportClock(), worker=None)
    dispatcher = Dispatcher(panel, NAMES, ["json"], PLAIN)

    def ask(method, exchange=NAMES.replies, **more):
        arguments = more.pop("arguments", {})
        reply_to = None if exchange is None else (exchange, "oid")
        message = request_message(NAMES, Request(method, arguments, ticket="t", reply_to=reply_to, **more))
        answer = dispatcher.take(message.properties, message.body)
        return None if answer is None else json.loads(answer.body)["w1@h"]

    ask.panel, ask.dispatcher = panel, dispatcher
    return ask


def test_a_command_is_answered(ask):
    assert ask("ping") == {"ok": "pong"}


def test_nobody_answers_for_others(ask):
    assert ask("ping", destination=["w2@h"]) is None


def test_a_command_without_an_address_is_done_and_not_answered(ask):
    done = []
    control_command(name="mark")(lambda panel: done.append(panel.hostname))
    assert ask("mark", exchange=None) is None
    assert done == ["w1@h"]


def test_an_answer_that_should_go_to_another_exchange_is_refused_with_its_command(ask):
    done = []
    control_command(name="mark")(lambda panel: done.append(1))
    assert ask("mark", exchange="") is None
    assert not done


def test_an_unknown_command_is_an_error_as_celery_words_it(ask):
    assert ask("nosuch") == {"error": "KeyError('nosuch')"}


def test_wrong_arguments_are_an_error_as_celery_words_it(ask):
    text = "rate_limit() missing 2 required positional arguments: 'task_name' and 'rate_limit'"
    assert ask("rate_limit", arguments={"foo": 1}) == {"error": f"TypeError({text!r})"}


def test_whatever_a_command_raises_is_an_error(ask):
    def fails(panel):
        raise ConfigError("can't be") if panel.clock.value % 2 else ValueError("no")

    inspect_command(name="fails")(fails)
    assert {str(ask("fails")), str(ask("fails"))} <= {str({"error": "can't be"}), str({"error": "ValueError('no')"})}


def test_a_request_that_is_long_over_is_not_done(ask):
    assert ask("ping", expires=clock.wall() - 60) is None
    assert ask("ping", expires=clock.wall() - 2) == {"ok": "pong"}, "clocks of two machines may differ"


def test_the_clock_moves_past_the_sender_s(ask):
    ask("ping", clock=100)
    assert ask.panel.clock.value > 100


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"\x80\x04", b'{"method": {}}'])
def test_garbage_is_not_answered(ask, body, caplog):
    assert ask.dispatcher.take(Properties("application/json", "utf-8"), body) is None
    assert ask.dispatcher.take(Properties("application/x-python-serialize"), body) is None
    assert ask.dispatcher.take(Properties(None, None, None), body) is None
    assert len(caplog.messages) == 1, "whoever sends it must not fill the log"


@pytest.fixture
def strict(declared):
    """A worker that requires signatures, with a command that notes when it is done; takes a request as it is signed."""
    panel, done = SimpleNamespace(app=None, hostname="w1@h", clock=LamportClock(), worker=None), []
    control_command(name="mark")(lambda panel: done.append(1))

    def started(signer=None):
        return Dispatcher(panel, NAMES, ["json"], signer or keyed("k"))

    dispatcher = started()

    def take(method, signer, about=REQUEST):
        message = request_message(NAMES, Request(method, ticket="t", reply_to=(NAMES.replies, "oid")))
        return dispatcher, signer.signed(message, about)

    take.done, take.dispatcher = done, started
    return take


def said(dispatcher, message):
    answer = dispatcher.take(message.properties, message.body)
    value = json.loads(answer.body)["w1@h"]
    if SIGNATURE in answer.properties.headers:
        asked = message.properties.headers.get(SIGNATURE)
        keyed("k").verify(answer.properties, answer.body, REPLY, "t", asked)
    else:
        assert "signature" in value["error"], "only what nobody has signed is answered without"
    return value


def test_what_changes_workers_is_done_for_holders_of_a_key_only_and_once(strict, caplog):
    dispatcher, message = strict("mark", keyed("k"))
    said(dispatcher, message)
    assert strict.done == [1]
    assert said(dispatcher, message) == {"error": "it is a copy of one that came before"}
    for forged in (
        strict("mark", PLAIN)[1],
        strict("mark", keyed("k"), REPLY)[1],
        message._replace(body=message.body + b" "),
    ):
        assert "signature" in said(dispatcher, forged)["error"]
    assert strict.done == [1]
    told = "A request of remote control is left out: 'mark': it is a copy of one that came before"
    assert caplog.messages == [told], "one line, however many come"


def test_what_only_looks_is_answered_to_anybody_but_not_under_a_wrong_signature(strict):
    assert said(*strict("ping", PLAIN)) == {"ok": "pong"}
    assert "is wrong" in said(*strict("ping", keyed("k"), REPLY))["error"]


def test_a_signed_request_that_somebody_has_kept_is_not_done(strict, monkeypatch):
    dispatcher, message = strict("mark", keyed("k"))
    now = clock.wall()
    monkeypatch.setattr(clock, "wall", lambda: now + NAMES.ttl + 20)
    assert "s ago, the limit is" in said(dispatcher, message)["error"]
    assert not strict.done


def respelled(signature):
    """The same signature in other words, as readers of numbers and of base64 are lenient."""
    key_id, sent, text = signature.split(":")
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".index(text[-2])
    other = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[last + 1]
    return [
        f"{key_id}:0{sent}:{text}", f"{key_id}: {sent}:{text}", f"{key_id}:+{sent}:{text}",
        f"{key_id}:{sent[:3]}_{sent[3:]}:{text}", f"{key_id}:{sent}:{text[:-2]}{other}=",
    ]  # fmt: skip


def test_a_copy_is_known_whatever_its_signature_looks_like(strict):
    dispatcher, message = strict("mark", keyed("k"))
    said(dispatcher, message)
    headers = message.properties.headers
    for other in respelled(headers[SIGNATURE]):
        copy = message._replace(properties=message.properties._replace(headers={**headers, SIGNATURE: other}))
        assert "malformed" in said(dispatcher, copy)["error"]
    assert strict.done == [1]


def test_a_copy_of_what_an_earlier_process_has_done_is_not_done_again(strict, monkeypatch):
    _, message = strict("mark", keyed("k"))
    now, elapsed = clock.wall(), clock.monotonic()
    monkeypatch.setattr(clock, "wall", lambda: now + 100)
    monkeypatch.setattr(clock, "monotonic", lambda: elapsed + 100)
    assert "before this worker started" in said(strict.dispatcher(), message)["error"]
    assert not strict.done


def test_a_request_from_the_future_is_not_done_for_it_could_be_copied_for_long(strict, monkeypatch):
    now = clock.wall()
    monkeypatch.setattr(clock, "wall", lambda: now + NAMES.ttl + 20)
    dispatcher, message = strict("mark", keyed("k"))
    monkeypatch.setattr(clock, "wall", lambda: now)
    assert "ahead of the clock" in said(dispatcher, message)["error"]
    assert not strict.done


def test_signatures_of_unknown_keys_are_not_remembered(strict):
    dispatcher = strict.dispatcher(keyed("k", required=False))
    _, message = strict("mark", PLAIN)
    headers = {**message.properties.headers, SIGNATURE: "unknown:0:AAAA"}
    message = message._replace(properties=message.properties._replace(headers=headers))
    for _ in range(2):
        dispatcher.take(message.properties, message.body)
    assert strict.done == [1, 1]


def test_an_answer_is_for_the_request_that_was_asked_and_no_other_of_its_ticket(strict):
    dispatcher, message = strict("mark", keyed("k"))
    _, forged = strict("ping", PLAIN)
    answer = dispatcher.take(forged.properties, forged.body)
    with pytest.raises(DecodeError, match="is wrong"):
        keyed("k").verify(answer.properties, answer.body, REPLY, "t", message.properties.headers[SIGNATURE])
    changed = forged.properties._replace(headers=message.properties.headers)
    assert SIGNATURE not in dispatcher.take(changed, forged.body).properties.headers


def test_what_a_worker_of_celery_says_when_it_starts_changes_this_one(declared):
    assert commands["hello"].kind == "control", "it brings revocations"


def test_a_command_of_ones_own_is_declared_by_a_decorator(ask):
    @inspect_command(args=[("n", int)], signature="N")
    def double(panel, n):
        """Twice as much.

        More about it.
        """
        return {"result": 2 * n}

    assert ask("double", arguments={"n": 21}) == {"result": 42}
    command = commands["double"]
    assert (command.kind, command.help, command.signature) == ("inspect", "Twice as much.", "N")


def test_every_command_of_celery_is_there(declared):
    theirs = {
        "ping", "stats", "registered", "active", "reserved", "scheduled", "query_task", "active_queues", "conf",
        "report", "revoked", "clock", "hello", "memsample", "memdump", "objgraph", "revoke", "terminate",
        "revoke_by_stamped_headers", "rate_limit", "time_limit", "pool_grow", "pool_shrink", "autoscale",
        "pool_restart", "add_consumer", "cancel_consumer", "enable_events", "disable_events", "heartbeat", "election",
        "shutdown",
    }  # fmt: skip
    assert theirs <= commands.keys()
    assert {"stack", "limits", "prefetch", "pause", "resume", "children", "connections"} <= commands.keys()
    assert all(command.help for command in commands.values())


def test_every_command_is_in_the_guide(declared):
    text = (Path(__file__).parents[2] / "docs/how-to/control-workers.md").read_text()
    own = [name for name, command in commands.items() if command.function.__module__.startswith("amqtask.")]
    missing = [name for name in own if f"`{name}`" not in text and f"`{name} " not in text]
    assert missing == ["hello"], "which only Celery's workers ask"
