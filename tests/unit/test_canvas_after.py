"""What follows from the end of a task: callbacks, the next step, errbacks, failures, replacements."""

from __future__ import annotations

import json

import pytest

from amqtask.canvas.after import (
    Errback,
    Failed,
    Followup,
    after_failure,
    after_success,
    chord_context,
    chord_failed,
    context_of,
    unreached,
)
from amqtask.canvas.chain import chain
from amqtask.canvas.chord import chord
from amqtask.canvas.group import group
from amqtask.canvas.plan import PlanContext
from amqtask.canvas.planning import plan
from amqtask.canvas.replacing import addition, replacement
from amqtask.canvas.shapes import ACCUMULATE, members
from amqtask.canvas.signature import Signature
from amqtask.errors import ConfigError
from amqtask.wire.message import TaskMessage

BASE = PlanContext()


def add(*args, **options):
    return Signature("add", args, **options)


def as_message(sent) -> TaskMessage:
    """A planned message as a worker reads it."""
    sent = sent._replace(embed=json.loads(json.dumps(sent.embed)))
    return TaskMessage(
        sent.task,
        sent.id,
        sent.args,
        sent.kwargs,
        sent.embed,
        root_id=sent.root_id,
        parent_id=sent.parent_id,
        group=sent.group,
        group_index=sent.group_index,
        replaced_task_nesting=sent.replaced_task_nesting,
    )


def first(work, **given) -> TaskMessage:
    return as_message(plan(work, given=given, context=PlanContext(reply_to="here")).sendings[0])


def context(message, purpose="after"):
    return context_of(message, BASE, "here", purpose)


# ---- success


def test_several_callbacks_are_one_group_but_groups_go_on_their_own():
    message = first(add(1), link=[add(2), group(add(3), add(4)), add(5)])
    followup = after_success(message, 9, context(message))
    assert [[sent.args for sent in new.sendings] for new in followup.plans] == [[(9, 3), (9, 4)], [(9, 2), (9, 5)]]
    assert len({sent.group for new in followup.plans for sent in new.sendings}) == 2


def test_callbacks_may_be_any_work():
    message = first(add(1), link=add(2) | group(add(3), add(4)) | add(5))
    (new,) = after_success(message, 9, context(message)).plans
    assert new.sendings[0].args == (9, 2)
    assert new.sendings[0].embed["chain"][0]["task"] == "celery.chord"


def test_what_is_asked_twice_is_answered_with_the_same_ids():
    message = first(add(1), link=[add(2), chord([add(3)], add(4))])
    answers = [after_success(message, 9, context(message)) for _ in range(2)]
    once, again = ([new.sendings for new in answer.plans] for answer in answers)
    assert once == again


def test_nothing_follows_from_a_plain_task():
    message = first(add(1))
    assert after_success(message, 2, context(message)) == Followup()
    assert after_failure(message, context(message)) == Followup()


# ---- failure


def test_errbacks_are_called_here_or_sent_as_they_are_able_to():
    message = first(add(1).on_error(add(2)).on_error(Signature("other", (3,))))
    followup = after_failure(message, context(message), in_process=lambda sig: sig["task"] == "add")
    assert [(call.signature["args"], call.task_id) for call in followup.calls] == [([2], message.id)]
    assert isinstance(followup.calls[0], Errback)
    (sent,) = followup.plans[0].sendings
    assert (sent.task, sent.args, sent.parent_id) == ("other", (message.id, 3), message.id)
    assert sent.group is not None


def test_a_failure_reaches_every_task_that_will_never_run():
    work = add(1) | chord([add(2), add(3) | add(4)], add(5)) | group(add(6), add(7))
    new = plan(work, context=PlanContext(reply_to="here"))
    message = as_message(new.sendings[0])
    failed = after_failure(message, context(message)).failed
    assert [one.task_id for one in failed] == list(dict.fromkeys(one.task_id for one in failed))
    assert {one.task_id for one in failed} >= {*new.task_ids} - {message.id}
    assert {one.reply_to for one in failed} == {"here"}
    assert {one.member for one in failed} == {None}


def test_a_failed_chain_in_a_header_is_counted_by_its_last_step():
    new = plan(chord([add(1) | add(2), add(3)], add(4)), context=BASE)
    message = as_message(new.sendings[0])
    followup = after_failure(message, context(message))
    assert followup.member is None
    (failed,) = followup.failed
    assert (failed.member.group_id, failed.member.group_index) == (new.sendings[1].group, 0)


def test_signatures_without_ids_have_nothing_to_tell():
    assert list(unreached(add(1) | add(2))) == []
    assert list(unreached(add(1, task_id="a", reply_to="q"))) == [Failed("a", "add", "q", None)]


def test_a_failed_chord_fails_its_body_and_what_follows_it():
    work = add(0) | chord([add(1)], add(2).on_error(add(9))) | add(3)
    step = first(work).embed["chain"]
    body = plan(step[-1], (1,), given={"chain": step[:-1]}, context=BASE).chords[0].body
    followup = chord_failed(body, chord_context(body, "g", BASE))
    assert [one.task_id for one in followup.failed] == [body["options"]["task_id"], step[0]["options"]["task_id"]]
    (sent,) = followup.plans[0].sendings
    assert sent.args == (body["options"]["task_id"], 9)


def test_a_failed_chord_in_a_header_is_counted_there():
    new = plan(chord([chord([add(1)], add(2)), add(3)], add(4)), context=BASE)
    inner = next(start for start in new.chords if start.body["args"] == (2,))
    (failed,) = chord_failed(inner.body, chord_context(inner.body, inner.group_id, BASE)).failed
    assert failed.member.chord["args"] == (4,)
    assert failed.member.group_index == 0


def test_the_members_of_a_body_that_is_a_group_fail_each_with_its_errbacks():
    body = plan(chord([add(1)], group(add(2).on_error(add(8)), add(3).on_error(add(9)))), context=BASE).chords[0].body
    followup = chord_failed(body, chord_context(body, "g", BASE), in_process=lambda _sig: True)
    ids = [member["options"]["task_id"] for member in body["kwargs"]["tasks"]]
    assert [one.task_id for one in followup.failed] == ids
    assert [(call.signature["args"], call.task_id) for call in followup.calls] == [((8,), ids[0]), ((9,), ids[1])]


def test_errbacks_of_work_that_ends_in_a_group_hear_of_what_fails_before_it_with_something_behind_it_too():
    work = chord([add(1)], group(add(2), add(3))).on_error(add(9))
    for whole in (work | add(4), Signature.from_dict({**chain(), "kwargs": {"tasks": [work, add(4)]}})):
        body = plan(whole, context=BASE).chords[0].body
        followup = chord_failed(body, BASE, in_process=lambda _sig: True)
        ids = [member["options"]["task_id"] for member in members(body)]
        assert [(list(call.signature["args"]), call.task_id) for call in followup.calls] == [([9], one) for one in ids]


CHORDS = {
    "on_error=": lambda: chord([add(1)], add(2), on_error=add(9)),
    "on_error=[...]": lambda: chord([add(1)], add(2), on_error=[add(9)]),
    "link_error=": lambda: chord([add(1)], add(2), link_error=add(9)),
    "on_error()": lambda: chord([add(1)], add(2)).on_error(add(9)),
    "on_error=, with its body later": lambda: chord([add(1)], on_error=add(9)),
    "on_error(), with its body later": lambda: chord([add(1)]).on_error(add(9)),
}


@pytest.mark.parametrize("work", CHORDS.values(), ids=CHORDS.keys())
def test_an_errback_of_a_chord_hears_once_however_it_was_given(work):
    sig = work()
    if sig.body is None:
        sig = sig.clone()
        sig.body = add(2)
    body = plan(sig, context=BASE).chords[0].body
    followup = chord_failed(body, chord_context(body, "g", BASE), in_process=lambda _sig: True)
    assert [(call.signature["args"], call.task_id) for call in followup.calls] == [((9,), body["options"]["task_id"])]


def test_a_callback_of_a_chord_waits_for_a_body_that_is_given_later():
    sig = chord([add(1)])
    sig.link(add(9))
    sig.body = add(2)
    assert plan(sig, context=BASE).chords[0].body["options"]["link"] == [add(9)]


# ---- replace, add_to_chord


def test_a_replacement_ends_with_the_id_of_the_task_and_all_it_had():
    message = first(add(1).on_error(add(8)) | add(2))
    message.embed["callbacks"] = [add(7)]
    (sent,) = replacement(message, add(5) | add(6), context(message, "replace")).sendings
    last, following = sent.embed["chain"][1], sent.embed["chain"][0]
    assert (last["args"], last["options"]["task_id"], last["options"]["link"]) == ((6,), message.id, [add(7)])
    assert following["args"] == [2]
    assert sent.embed["errbacks"] == last["options"]["link_error"] == [json.loads(json.dumps(add(8)))]
    assert sent.replaced_task_nesting == last["options"]["replaced_task_nesting"] == 1
    assert following["options"]["replaced_task_nesting"] == 1
    assert (sent.root_id, sent.parent_id, sent.options["reply_to"]) == (message.root_id, message.id, "here")


def test_the_errbacks_of_a_task_hear_of_the_chord_that_replaces_it_whatever_its_body_is():
    message = TaskMessage("add", "t1", embed={"errbacks": [Signature("told")]})
    new = replacement(message, chord([add(1), add(2)], group(add(3), add(4))), PlanContext())
    follow = chord_failed(new.chords[0].body, PlanContext())
    assert [(sent.task, sent.args) for one in follow.plans for sent in one.sendings] == [("told", ("t1",))]


def test_a_replacement_by_one_task_has_the_parent_of_the_task():
    message = as_message(plan(add(1), context=BASE.within("parent", "root")).sendings[0])
    (sent,) = replacement(message, add(5), context(message, "replace")).sendings
    assert (sent.id, sent.parent_id, sent.root_id) == (message.id, "parent", "root")


def test_a_member_of_a_chord_passes_its_place_to_its_replacement():
    message = first(chord([add(1), add(2)], add(3)))
    (sent,) = replacement(message, chain(add(5), add(6)), context(message, "replace")).sendings
    last = sent.embed["chain"][0]["options"]
    assert "chord" not in sent.embed
    assert (last["chord"], last["group_id"], last["group_index"]) == (message.embed["chord"], message.group, 0)


def test_a_replacement_by_a_group_is_the_list_of_its_results():
    message = first(add(1) | add(2))
    new = replacement(message, group(add(5), add(6)), context(message, "replace"))
    body = new.chords[0].body
    assert (body["task"], body["kwargs"], body["options"]["task_id"]) == (ACCUMULATE, {"index": 0}, message.id)
    assert body["options"]["chain"][0]["args"] == [2]


def test_tasks_of_nested_replacements_have_ids_of_their_own():
    message = first(add(1))
    outer = replacement(message, add(5) | add(6), context(message, "replace"))
    last = as_message(plan(outer.sendings[0].embed["chain"][0], context=BASE).sendings[0])
    assert (last.id, last.replaced_task_nesting) == (message.id, 1)
    inner = replacement(last, add(7) | add(8), context(last, "replace"))
    assert inner.sendings[0].id not in (message.id, outer.sendings[0].id)
    assert inner.sendings[0].replaced_task_nesting == 2


def test_what_can_replace_no_task_is_refused():
    message = first(add(1))
    with pytest.raises(ConfigError, match="empty chain"):
        replacement(message, chain(), context(message))
    with pytest.raises(ConfigError, match="member of a chord"):
        replacement(message, add(1, chord=add(2)), context(message))


def test_an_addition_counts_in_the_chord_of_the_task():
    message = first(chord([add(1)], add(3)))
    new = addition(message, add(5) | group(add(6), add(7)), context(message, "add 0"))
    assert new.grows == [(message.group, 1)]
    upgraded = new.sendings[0].embed["chain"][0]
    assert upgraded["kwargs"]["body"]["options"]["chord"] == message.embed["chord"]
    with pytest.raises(ConfigError, match="member of no chord"):
        addition(first(add(1)), add(2), context(message))
