"""What is sent for a piece of work: ids, places in groups and chords, options, and how large it gets."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count

import pytest
from calls import calls_of

from amqtask import clock
from amqtask.canvas.chain import chain
from amqtask.canvas.chord import chord
from amqtask.canvas.group import group
from amqtask.canvas.parking import SEGMENT
from amqtask.canvas.plan import CHAIN_MORE, PlanContext, derived_ids
from amqtask.canvas.planning import plan
from amqtask.canvas.shapes import ACCUMULATE
from amqtask.canvas.signature import Signature
from amqtask.errors import ConfigError

LARGEST_MESSAGE = 4096


def add(*args, **options):
    return Signature("add", args, **options)


@pytest.fixture
def context():
    numbers = count(1)
    return PlanContext(new_id=lambda: f"id{next(numbers)}", reply_to="here")


def ids(result):
    while result is not None:
        members = getattr(result, "results", None)
        yield result.id if members is None else (result.id, [member.id for member in members])
        result = result.parent


def test_a_chain_is_sent_by_its_first_step_with_the_rest_reversed(context):
    new = plan(add(1) | add(2) | add(3), context=context)
    (sent,) = new.sendings
    assert (sent.id, sent.root_id, sent.args) == ("id1", "id1", (1,))
    assert [(step["args"], step["options"]) for step in sent.embed["chain"]] == [
        ((3,), {"task_id": "id3", "reply_to": "here"}),
        ((2,), {"task_id": "id2", "reply_to": "here"}),
    ]
    assert list(ids(new.result)) == ["id3", "id2", "id1"]
    assert new.task_ids == ["id3", "id2", "id1"]


def test_parents_lead_from_the_body_over_the_header_to_the_first_step(context):
    new = plan(add(1) | group(add(2), add(3)) | add(4) | add(5), context=context)
    assert list(ids(new.result)) == ["id6", "id5", ("id2", ["id3", "id4"]), "id1"]


def test_members_share_the_group_and_have_their_place(context):
    new = plan(group(add(1), group(add(2), add(3)), add(4) | add(5)), context=context)
    assert [(sent.group, sent.group_index, sent.args) for sent in new.sendings] == [
        ("id1", 0, (1,)),
        ("id1", 1, (2,)),
        ("id1", 2, (3,)),
        (None, None, (4,)),
    ]
    last = new.sendings[3].embed["chain"][0]["options"]
    assert (last["group_id"], last["group_index"]) == ("id1", 3)
    assert [sent.root_id for sent in new.sendings] == [sent.id for sent in new.sendings]


def test_of_a_chain_in_a_header_only_the_last_step_counts(context):
    new = plan(chord([add(1) | add(2), add(3)], add(4)), context=context)
    first, second = new.sendings
    assert "chord" not in first.embed
    last = first.embed["chain"][0]["options"]
    assert (last["chord"]["args"], last["group_id"], last["group_index"]) == ((4,), second.group, 0)
    assert (second.embed["chord"]["args"], second.group_index) == ((4,), 1)
    assert [(start.group_id, start.size) for start in new.chords] == [(second.group, 2)]


def test_a_member_that_ends_in_a_group_counts_once_with_the_list_of_its_results(context):
    new = plan(chord([add(1) | group(add(2), add(3)), add(4)], add(5)), context=context)
    assert new.chords[0].size == 2
    inner = new.sendings[0].embed["chain"][0]
    assert (inner["task"], inner["kwargs"]["body"]["task"]) == ("celery.chord", ACCUMULATE)
    assert inner["kwargs"]["body"]["options"]["chord"]["args"] == (5,)


def test_an_empty_header_sends_the_body_at_once(context):
    (sent,) = plan(chord([], add(1)), (9,), context=context).sendings
    assert sent.args == ([], 1)


def test_an_empty_group_sends_nothing_and_has_a_result(context):
    new = plan(group(), context=context)
    assert (new.sendings, new.result.results) == ([], [])
    assert plan(chain(), context=context).result is None


def test_without_native_chords_the_body_says_where_its_members_are_counted(context, monkeypatch):
    monkeypatch.setattr(clock, "wall", lambda: 1000.7)
    context = PlanContext(native_chords=False, chord_expires=60.0)
    new = plan(chord([add(1), add(2) | add(3)], add(4) | add(5)), context=context)
    (start,) = new.chords
    counted = {"queue": f"amqtask.chord.{start.group_id}", "size": 2, "deadline": 1060}
    assert start.body["options"]["amqtask_chord"] == counted
    assert new.sendings[0].embed["chord"]["options"]["amqtask_chord"] == counted
    assert new.sendings[1].embed["chain"][0]["options"]["chord"]["options"]["amqtask_chord"] == counted


def test_what_a_body_counts_by_is_not_an_option_of_its_message():
    context = PlanContext(native_chords=False)
    body = plan(chord([add(1)], add(2)), context=context).chords[0].body
    (sent,) = plan(body, ([3],), context=context).sendings
    assert set(sent.options) == {"task_id"}
    assert sent.args == ([3], 2)


def test_arguments_go_to_the_first_step_or_to_every_member(context):
    assert plan(add(1) | add(2), (0,), {"x": 5}, context=context).sendings[0].args == (0, 1)
    members = plan(group(add(1), Signature("add", (2,), immutable=True)), (0,), {"x": 5}, context=context).sendings
    assert [(sent.args, sent.kwargs) for sent in members] == [((0, 1), {"x": 5}), ((2,), {})]
    header = plan(chord([add(1), add(2)], add(3)), (0,), {"x": 5}, context=context).sendings
    assert [(sent.args, sent.kwargs) for sent in header] == [((0, 1), {"x": 5}), ((0, 2), {"x": 5})]
    assert header[0].embed["chord"]["kwargs"] == {}


def test_options_of_a_call_are_for_what_is_sent_first(context):
    work = add(1, queue="a") | add(2, queue="b")
    (sent,) = plan(work, given={"queue": "c", "countdown": 5, "priority": None}, context=context).sendings
    assert (sent.options["queue"], sent.options["countdown"], "priority" in sent.options) == ("c", 5, False)
    assert sent.embed["chain"][0]["options"]["queue"] == "b"


def test_options_of_a_chord_are_for_all_but_a_delay_only_for_the_header(context):
    new = plan(chord([add(1)], add(2), queue="q", countdown=5), context=context)
    (sent,) = new.sendings
    assert (sent.options["queue"], sent.options["countdown"]) == ("q", 5)
    assert sent.embed["chord"]["options"]["queue"] == "q"
    assert "countdown" not in sent.embed["chord"]["options"]


def test_options_of_groups_are_for_their_members_wherever_the_group_stands(context):
    for work in (
        group(add(1), queue="q"),
        group(add(1), group(add(2), queue="q")),
        add(0) | group(add(1), add(2), queue="q"),
    ):
        new = plan(work, context=context)
        sent = new.sendings[-1]
        steps = sent.embed.get("chain")
        found = [plan(steps[0], context=context).sendings[0] if steps else sent]
        assert [one.options["queue"] for one in found] == ["q"]
    upgraded = plan(group(add(1), add(2), queue="q") | add(3), context=context)
    assert [sent.options["queue"] for sent in upgraded.sendings] == ["q", "q"]
    assert "queue" not in upgraded.chords[0].body["options"]


def test_a_task_id_names_the_result(context):
    for work in (
        add(1),
        add(1) | add(2),
        group(add(1), add(2)),
        chord([add(1)], add(2)),
        chord([add(1)], add(2) | add(3)),
    ):
        assert plan(work, given={"task_id": "mine"}, context=context).result.id == "mine"


def test_callbacks_of_a_call_are_for_the_end_and_errbacks_for_every_step(context):
    given = {"link": add(8), "link_error": [add(9)]}
    (sent,) = plan(add(1) | add(2), given=given, context=context).sendings
    assert (sent.embed["errbacks"], "callbacks" in sent.embed) == ([add(9)], False)
    last = sent.embed["chain"][0]["options"]
    assert (last["link"], last["link_error"]) == ([add(8)], [add(9)])
    (sent,) = plan(chord([add(1)], add(2)), given=given, context=context).sendings
    assert "errbacks" not in sent.embed
    body = sent.embed["chord"]["options"]
    assert (body["link"], body["link_error"]) == ([add(8)], [add(9)])


def test_stamps_are_apart_from_options(context):
    sig = add(1).set(stamped_headers=["tenant"], tenant="a", queue="q")
    (sent,) = plan(sig, context=context).sendings
    assert (sent.stamps, set(sent.options)) == ({"tenant": "a"}, {"task_id", "reply_to", "queue"})


def test_inside_of_a_task_it_is_the_parent(context):
    inner = context.within("me", "root")
    (sent,) = plan(add(1), context=inner).sendings
    assert (sent.root_id, sent.parent_id) == ("root", "me")
    assert context.within("me", None).root_id == "me"


def test_planning_changes_nothing_and_says_the_same_again():
    work = add(1).on_error(add(9)) | group(add(2), add(3) | add(4)) | chord([add(5)], add(6))
    before = json.dumps(work)
    plans = [plan(work, context=PlanContext(new_id=derived_ids("me"))) for _ in range(2)]
    assert json.dumps(work) == before
    assert plans[0].sendings == plans[1].sendings
    assert plans[0].tree.as_tuple() == plans[1].tree.as_tuple()


def test_derived_ids_tell_tasks_nestings_and_purposes_apart():
    made = [derived_ids(*what)() for what in (("a",), ("b",), ("a", 1), ("a", 0, "replace"))]
    assert len(set(made)) == 4
    ids_ = derived_ids("a")
    assert (ids_(), ids_() != made[0]) == (made[0], True)


def test_children_are_written_as_celery_writes_them(context):
    new = plan(add(1) | group(add(2), add(3)), context=context)
    members = [(("id3", None), None), (("id4", None), None)]
    assert new.tree.as_tuple() == (("id2", (("id1", None), None)), members)


def test_an_id_that_makes_no_name_of_a_queue_is_refused(context):
    long = group(add(1), add(2)).set(task_id="é" * 125)
    assert plan(long | add(3), context=context).chords
    with pytest.raises(ConfigError, match="an id of 250 bytes"):
        plan(long | add(3), context=replace(context, native_chords=False))


def test_ten_thousand_steps_make_small_messages():
    work = chain(Signature("proj.tasks.add", (number,)) for number in range(10_000))
    context = PlanContext(reply_to="amqtask.reply." + "0" * 36, park_after=64)
    new = plan(work, context=context)
    (sent,), (parked,) = new.sendings, new.parked
    assert len(json.dumps(sent._asdict())) < LARGEST_MESSAGE
    assert max(len(json.dumps(segment)) for segment in parked.segments) < LARGEST_MESSAGE
    steps = [*reversed(sent.embed["chain"]), *(step for segment in parked.segments for step in segment)]
    assert [step["args"] for step in steps if step["task"] != CHAIN_MORE] == [(number,) for number in range(1, 10_000)]
    assert plan(work, context=context).parked[0].queue != parked.queue, "each sending has a queue of its own"
    more = [step for step in steps if step["task"] == CHAIN_MORE]
    assert [step["kwargs"]["segment"] for step in more] == list(range(1, len(parked.segments) + 1))
    assert {step["options"]["task_id"] for step in more} == {new.result.id}
    assert sum(1 for _ in ids(new.result)) == 10_000


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("placed", ["alone", "in a group", "in a header", "behind a step"])
def test_what_follows_a_group_is_parked_wherever_it_stands(placed, native):
    long = chain(group(add(1), add(2)), *(Signature("proj.tasks.add", (number,)) for number in range(1000)))
    work = {
        "alone": lambda: long,
        "in a group": lambda: group(long, add(1)),
        "in a header": lambda: chord([long, add(1)], add(2)),
        "behind a step": lambda: add(1) | long,
    }[placed]()
    new = plan(work, context=PlanContext(reply_to="here", park_after=SEGMENT, native_chords=native))
    (parked,) = new.parked
    messages = [*new.sendings, *new.chords, *parked.segments]
    assert max(len(json.dumps(message)) for message in messages) < 2 * LARGEST_MESSAGE
    end = [step for segment in parked.segments for step in segment][-1]
    assert parked.queue.startswith("amqtask.chain.")
    if placed == "alone":
        assert sum(1 for _ in ids(new.result)) == 1001
        assert new.result.id == end["options"]["task_id"]


@pytest.mark.parametrize("before", [(), (add(0),)])
def test_a_chain_that_begins_with_a_group_is_built_in_one_pass(before):
    few, many = ([add(number) for number in range(count)] for count in (50, 400))
    small, large = (
        calls_of(lambda steps=steps: chain(*before, group(add(1), add(2)), *steps)) for steps in (few, many)
    )
    assert large < 10 * small, "of eight times the steps; each copied for each would be 64 times"


def test_only_long_chains_are_parked_and_only_where_asked():
    work = chain(add(number) for number in range(SEGMENT + 10))
    assert plan(work, context=PlanContext()).parked == []
    assert plan(work, context=PlanContext(park_after=SEGMENT + 9)).parked == []
    assert len(plan(work, context=PlanContext(park_after=SEGMENT)).parked) == 1
    assert plan(work | group(add(1), add(2)), context=PlanContext(park_after=SEGMENT)).parked == []


def test_empty_groups_between_steps_mean_nothing(context):
    inner = chain(app=None)
    inner.tasks = [add(2), group(add(3), add(4)), group()]
    (sent,) = plan(chain(add(1), inner, add(5)), context=context).sendings
    joined, following = sent.embed["chain"]
    assert following["args"] == (2,)
    assert (joined["kwargs"]["body"]["args"], joined["kwargs"]["body"]["task"]) == ((5,), "add")


def test_what_follows_a_task_and_an_empty_group_gets_the_list_of_none(context):
    (sent,) = plan(add(1) | group() | add(5) | add(6), context=context).sendings
    last, joined = sent.embed["chain"]
    assert (joined["task"], joined["kwargs"]["body"]["args"], last["args"]) == ("celery.chord", (5,), (6,))
    (body,) = plan(joined, ("of the step before",), context=context).sendings
    assert body.args == ([], 5)


def test_a_large_header_shares_one_body(context):
    new = plan(chord((add(number) for number in range(1000)), add(1)), context=context)
    assert new.chords[0].size == len(new.sendings) == 1000
    assert all(sent.embed["chord"] is new.chords[0].body for sent in new.sendings)
