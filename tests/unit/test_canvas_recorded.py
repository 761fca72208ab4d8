"""Recorded canvases of Celery: what our workers send next is what Celery's sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from amqtask.canvas.after import after_failure, after_success, chord_body, chord_context, context_of
from amqtask.canvas.plan import PlanContext
from amqtask.wire.message import TaskMessage

DATA = Path(__file__).resolve().parents[1] / "data" / "celery_wire"
BASE = PlanContext()


def samples():
    found = json.loads((DATA / "chords.json").read_text())["samples"]
    for recorded in json.loads((DATA / "tasks.json").read_text())["messages"]:
        if recorded["kind"] in ("task", "result") and recorded["properties"]["content_type"] == "application/json":
            headers, reply_to = recorded["headers"], recorded["properties"].get("reply_to")
            if "compression" not in headers and "body" in recorded:
                message = {"headers": headers, "reply_to": reply_to, "body": json.loads(recorded["body"])}
                found.setdefault(recorded["sample"], []).append(message)
    return found


SAMPLES = samples()


def tasks_of(name):
    """The task messages of a sample, and the queue that each answers to, in the order they were sent."""
    found = []
    for recorded in SAMPLES[name]:
        headers = recorded["headers"]
        if "task" not in headers:
            continue
        args, kwargs, embed = recorded["body"]
        message = TaskMessage(
            headers["task"],
            headers["id"],
            tuple(args),
            kwargs,
            {key: value for key, value in embed.items() if value},
            root_id=headers["root_id"],
            parent_id=headers["parent_id"],
            group=headers["group"],
            group_index=headers["group_index"],
            stamps=headers["stamps"],
        )
        found.append((message, recorded["reply_to"]))
    return found


def answers_of(name):
    """Task id -> result document, as the worker sent it."""
    bodies = [recorded["body"] for recorded in SAMPLES[name] if not recorded["headers"].get("task")]
    return {body["task_id"]: body for body in bodies}


def same(sent, recorded, *, frozen):
    assert (sent.task, list(sent.args), sent.kwargs) == (recorded.task, list(recorded.args), recorded.kwargs)
    assert (sent.root_id, sent.parent_id, sent.group_index) == (
        recorded.root_id,
        recorded.parent_id,
        recorded.group_index,
    )
    assert (json.loads(json.dumps(sent.embed)), sent.stamps) == (recorded.embed, recorded.stamps)
    assert (sent.group is None) == (recorded.group is None)
    if frozen:
        assert (sent.id, sent.group) == (recorded.id, recorded.group)


@pytest.mark.parametrize(
    ("name", "frozen"),
    [
        ("link", False),
        ("link_two", False),
        ("immutable", False),
        ("chain3", True),
        ("chain_options", True),
        ("chain_group_tail", True),
        ("stamps_chain", True),
        ("chain_chord_mid", True),
    ],
)
def test_what_follows_a_recorded_success_is_what_celery_sent(name, frozen):
    recorded = tasks_of(name)
    answers = answers_of(name)
    message, reply_to = recorded[0]
    result = {"chain_chord_mid": 2}.get(name) or answers[message.id]["result"]
    followup = after_success(message, result, context_of(message, BASE, reply_to))
    sent = [one for new in followup.plans for one in new.sendings]
    following = [message for message, _ in recorded[1:] if message.parent_id == recorded[0][0].id]
    for one, expected in zip(sent, following, strict=True):
        if name == "chain_chord_mid":  # Celery writes more into its copy of the body than it reads
            kept = expected.embed["chord"]["options"]
            expected.embed["chord"]["options"] = {
                key: kept[key] for key in ("task_id", "reply_to", "root_id", "group_id") if key in kept
            }
        same(one, expected, frozen=frozen)
        assert one.options["reply_to"] == reply_to, "callbacks answer to the caller, unlike Celery's"
    if message.id in answers and frozen:
        assert json.loads(json.dumps(followup.children)) == answers[message.id]["children"]


def test_a_recorded_failure_passes_to_the_rest_of_the_chain():
    recorded = tasks_of("chain_fail")
    message, reply_to = recorded[1]
    followup = after_failure(message, context_of(message, BASE, reply_to))
    failed = [answer for answer in answers_of("chain_fail").values() if answer["status"] == "FAILURE"]
    assert [one.task_id for one in followup.failed] == [failed[1]["task_id"]]
    assert [one.reply_to for one in followup.failed] == [reply_to]


def test_a_recorded_errback_is_sent_as_celery_sent_it():
    (message, reply_to), (errback, _) = tasks_of("link_error_old")
    followup = after_failure(message, context_of(message, BASE, reply_to))
    same(followup.plans[0].sendings[0], errback, frozen=False)


@pytest.mark.parametrize("name", ["chord2", "chord1", "group_chain_chord", "chord_nested", "chord_group_body"])
def test_a_recorded_chord_goes_on_as_celery_did(name):
    recorded = [message for message, _ in tasks_of(name)]
    member = next(message for message in recorded if message.embed.get("chord"))
    bodies = [message for message in recorded if message.parent_id and not message.embed.get("chord")]
    bodies = [body for body in bodies if isinstance(body.args[0], list)]
    counted = after_success(member, 1, context_of(member, BASE, None)).member
    assert (counted.group_id, counted.group_index) == (member.group, member.group_index)
    counted.chord["options"].setdefault("root_id", bodies[0].root_id)  # that of the member which ended last, by chance
    new = chord_body(
        counted.chord, bodies[0].args[0], chord_context(counted.chord, counted.group_id, BASE, bodies[0].parent_id)
    )
    assert len(new.sendings) == len(bodies)
    for sent, body in zip(new.sendings, bodies, strict=True):
        same(sent, body, frozen=name != "chord_group_body")
        assert sent.id == body.id
