"""Signatures as values: parts, copies, composition, JSON and pickle, and what sending one asks of its app."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import pickle

import pytest

from amqtask.canvas import current
from amqtask.canvas.chain import chain
from amqtask.canvas.chord import chord
from amqtask.canvas.group import group
from amqtask.canvas.maps import chunks, xmap, xstarmap
from amqtask.canvas.plan import PlanContext
from amqtask.canvas.planning import plan
from amqtask.canvas.shapes import kind
from amqtask.canvas.signature import Signature, maybe_signature, signature
from amqtask.errors import ConfigError


class App:
    """Keeps what it is asked to send."""

    def __init__(self, eager=False):
        self.plans, self.applied, self.always_eager = [], [], eager
        self.tasks = {"add": lambda x, y: x + y}
        self.errbacks_on_headers = False

    def plan_context(self):
        return PlanContext(reply_to="here")

    def send(self, plan):
        self.plans.append(plan)

    async def asend(self, plan):
        self.plans.append(plan)

    def apply(self, *call):
        self.applied.append(call)


@pytest.fixture
def app():
    return App()


def add(*args, app=None, **options):
    return Signature("add", args, app=app, **options)


def test_a_signature_is_a_dict_of_celerys_keys():
    assert add(2, 2, countdown=1) == {
        "task": "add",
        "args": (2, 2),
        "kwargs": {},
        "options": {"countdown": 1},
        "subtask_type": None,
        "immutable": False,
    }


def test_its_parts_are_attributes():
    sig = Signature("add", (2,), {"debug": True}, {"queue": "q"}, immutable=True)
    assert (sig.task, sig.name, sig.args, sig.kwargs, sig.options) == (
        "add",
        "add",
        (2,),
        {"debug": True},
        {"queue": "q"},
    )
    assert (sig.immutable, sig.subtask_type, sig.id, sig.root_id, sig.parent_id) == (True, None, None, None, None)


def test_json_and_back_is_the_same():
    work = chord([add(1) | add(2), group(add(3), add(4))], add(5).on_error(add(6))) | add(7)
    back = Signature.from_dict(json.loads(json.dumps(work)))
    assert json.dumps(back) == json.dumps(work)
    assert json.loads(work.to_json()) == json.loads(json.dumps(work.__json__()))
    assert type(back) is type(work) is chord
    assert isinstance(back.body, chain)
    assert isinstance(back.tasks[0], chain)
    assert isinstance(back.tasks[1], group)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda sig: pickle.loads(pickle.dumps(sig))])
def test_copies_are_of_the_same_class_and_share_nothing_that_changes(duplicate):
    work = group(add(1), add(2) | add(3))
    other = duplicate(work)
    assert (type(other), other) == (group, work)
    other.tasks[0].set(queue="q")
    assert work.tasks[0].options == {}


def test_an_app_travels_with_copies_and_compositions_but_not_in_them(app):
    work = add(1, app=app).clone() | add(2)
    assert work.app is app
    assert (group([add(1), add(2, app=app)]) | add(3)).app is app
    assert "app" not in json.dumps(work)


def test_partial_arguments_go_first_and_options_over():
    sig = Signature("add", (2,), {"a": 1}, countdown=1)
    new = sig.clone((1,), {"b": 2}, countdown=5, queue="q")
    assert (new.args, new.kwargs, new.options) == ((1, 2), {"a": 1, "b": 2}, {"countdown": 5, "queue": "q"})
    assert sig.args == (2,)


def test_an_immutable_signature_takes_options_only():
    sig = Signature("add", (2,), immutable=True).clone((1,), {"b": 2}, queue="q")
    assert (sig.args, sig.kwargs, sig.options) == ((2,), {}, {"queue": "q"})


def test_replace_gives_a_copy_with_other_parts():
    sig = add(1, queue="q")
    assert sig.replace(args=(5,)) == {**sig, "args": (5,)}
    assert sig.replace(kwargs={"a": 1}, options={}) == {**sig, "kwargs": {"a": 1}, "options": {}}


def test_set_changes_it_and_returns_it():
    sig = add(1)
    assert sig.set(countdown=1).set(immutable=True, expires=3) is sig
    assert sig.immutable
    assert sig.options == {"countdown": 1, "expires": 3}


def test_callbacks_are_kept_once_in_a_list():
    sig, callback, errback = add(1), add(2), add(3)
    assert sig.link(callback) is callback
    sig.link(add(2))
    assert sig.on_error(errback) is sig
    assert sig.options == {"link": [callback], "link_error": [errback]}
    callback.link(add(9))
    assert [link.args for link in sig.flatten_links()] == [(1,), (2,), (9,)]
    sig.extend_list_option("link", [add(4), add(5)])
    assert len(sig.options["link"]) == 3


def test_callbacks_of_calls_join_those_of_the_signature(app):
    add(1, app=app).on_error(add(3)).apply_async(link_error=add(4), link=[add(5)])
    embed = app.plans[0].sendings[0].embed
    assert [sig["args"] for sig in embed["errbacks"]] == [(3,), (4,)]
    assert [sig["args"] for sig in embed["callbacks"]] == [(5,)]


def test_calling_one_calls_the_task_here(app):
    assert add(2, app=app)(1) == 3
    assert add(app=app).type(1, 1) == 2


def test_delay_sends_a_plan_and_returns_its_handle(app):
    result = add(2, app=app).delay(1, debug=True)
    (sent,) = app.plans[0].sendings
    assert (sent.task, sent.args, sent.kwargs) == ("add", (1, 2), {"debug": True})
    assert result.id == sent.id == sent.options["task_id"]
    assert sent.options["reply_to"] == "here"


def test_coroutines_send_without_blocking(app):
    first = asyncio.run(add(2, app=app).adelay(1))
    second = asyncio.run((add(1, app=app) | add(2)).aapply_async(countdown=3))
    assert [plan.result.id for plan in app.plans] == [first.id, second.id]
    assert app.plans[1].sendings[0].options["countdown"] == 3


def test_eager_apps_run_it_here():
    app = App(eager=True)
    sig = add(2, app=app)
    sig.apply_async((1,), queue="q")
    sig.apply((5,))
    asyncio.run(sig.adelay(7))
    assert app.applied == [(sig, (1,), {}, {"queue": "q"}), (sig, (5,), {}, {}), (sig, (7,), {}, {})]
    assert not app.plans


def test_without_an_app_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setattr(current, "_current", lambda: None)
    with pytest.raises(ConfigError, match="make one .*bind"):
        add(1).delay()


def test_the_app_made_last_sends_what_has_none_as_long_as_it_lives(monkeypatch, app):
    monkeypatch.setattr(current, "_current", lambda: None)
    current.set_current_app(app)
    add(1).delay()
    assert len(app.plans) == 1
    other = App()
    current.set_current_app(other)
    del other
    gc.collect()
    with pytest.raises(ConfigError):
        add(1).delay()


def test_a_frozen_signature_is_sent_with_the_ids_it_has(app):
    for work in (
        add(1),
        add(1) | add(2),
        group(add(1), add(2)),
        chord([add(1)], add(2)),
        add(1) | group(add(2), add(3)),
    ):
        work._app = app
        frozen = work.freeze()
        assert work.apply_async().id == frozen.id
        assert [str(r) for r in lineage(work.apply_async())] == [str(r) for r in lineage(frozen)]


@pytest.mark.parametrize("wanted", [False, True])
def test_an_errback_of_a_chord_is_its_members_where_the_setting_says_so(app, wanted):
    app.errbacks_on_headers = wanted
    work = chord([add(1), add(2)], add(3), app=app)
    work.link_error(add(9))
    linked = [add(9)] if wanted else None
    assert [task.options.get("link_error") for task in work.tasks] == [linked, linked]
    assert work.body.options["link_error"] == [add(9)]


def test_a_chain_that_becomes_a_chord_keeps_its_ids_too(app):
    work = chain(queue="q", app=app)
    work.tasks = [group(add(1), add(2)), add(3)]
    frozen = work.freeze("mine")
    assert frozen.id == "mine" == work.apply_async().id
    assert frozen.parent.id == work.apply_async().parent.id


def test_freeze_takes_the_place_in_a_group_or_chord(app):
    work = add(1, app=app) | add(2)
    work.freeze("mine", group_id="g", chord=add(9), root_id="r", parent_id="p", group_index=4)
    last = work.tasks[-1].options
    assert (last["task_id"], last["group_id"], last["group_index"], last["chord"]) == ("mine", "g", 4, add(9))
    work.apply_async()
    assert (app.plans[0].sendings[0].root_id, app.plans[0].sendings[0].parent_id) == ("r", "p")


def lineage(result):
    while result is not None:
        yield result
        result = result.parent


def test_signature_takes_names_dicts_tasks_and_signatures(app):
    class Task:
        name = "add"

    assert signature("add", (1,), {}, {"queue": "q"}) == add(1, queue="q")
    assert signature(Task, (1,)) == add(1)
    made = signature(dict(add(1) | add(2)), app=app)
    assert isinstance(made, chain)
    assert made.app is app
    again = signature(made)
    assert again == made
    assert again is not made


def test_maybe_signature_leaves_what_is_none():
    assert maybe_signature(None) is None
    sig = add(1)
    assert maybe_signature(sig) is sig
    assert maybe_signature(sig, clone=True) is not sig
    assert maybe_signature(dict(sig)) == sig


def test_groups_take_generators_lists_groups_and_single_signatures():
    assert len(group(add(i) for i in range(3)).tasks) == 3
    assert len(group([add(1), add(2)]).tasks) == 2
    assert len(group(group(add(1), add(2))).tasks) == 2
    assert len(group(add(1)).tasks) == 1
    assert group([]).tasks == group().tasks == []


def test_what_is_no_signature_is_named():
    with pytest.raises(TypeError, match="signature is required.* got 5"):
        group([add(1), 5])
    with pytest.raises(TypeError):
        add(1) | 5


def test_groups_take_no_callbacks_of_calls(app):
    for name in ("link", "link_error"):
        with pytest.raises(TypeError, match=f"takes no {name}"):
            group([add(1)], app=app).apply_async(**{name: add(2)})


def test_skew_spreads_members_over_time():
    work = group(add(i) for i in range(4)).skew(1, 5, 2)
    assert [task.options["countdown"] for task in work.tasks] == [1, 3, 5, 5]


def test_links_and_errbacks_of_compositions_go_where_they_act():
    work = group(add(1), add(2))
    work.link(add(8))
    work.link_error(add(9))
    assert [task.options.get("link") for task in work.tasks] == [[add(8).set(immutable=True)], None]
    assert [task.options["link_error"] for task in work.tasks] == [[add(9)], [add(9)]]
    joined = chord([add(1)], add(2))
    joined.link(add(8))
    joined.link_error(add(9))
    assert joined.body.options == {"link": [add(8)], "link_error": [add(9)]}
    assert joined.tasks[0].options == {}


def test_set_immutable_of_compositions_is_for_those_who_get_arguments():
    work, joined = group(add(1), add(2)), chord([add(1)], add(2))
    work.set_immutable(True)
    joined.set_immutable(True)
    assert all(task.immutable for task in work.tasks)
    assert joined.tasks[0].immutable
    assert not joined.body.immutable


def test_a_chord_takes_its_body_when_it_is_called(app):
    result = chord([add(1, app=app), add(2)])(add(3))
    assert len(result.parent.results) == 2
    with pytest.raises(ConfigError, match="needs a body"):
        chord([add(1, app=app)])()


def test_an_empty_chain_is_nothing_to_send(app):
    work = chain(app=app)
    assert work() is None
    assert app.plans[0].sendings == []


def test_unchained_tasks_have_the_callbacks_of_the_chain():
    work = add(1) | add(2)
    work.link(add(8))
    work.link_error(add(9))
    first, last = work.unchain_tasks()
    assert (first.options, last.options) == ({"link_error": [add(9)]}, {"link_error": [add(9)], "link": [add(8)]})


def test_maps_are_one_message_and_chunks_a_group(app):
    assert xmap(add(), iter([1, 2])).kwargs == {"task": add(), "it": [1, 2]}
    assert xstarmap(add(), zip([1], [2], strict=True)).kwargs["it"] == [(1, 2)]
    parts = chunks(add(app=app), zip(range(5), range(5), strict=True), 2, app=app)
    result = parts()
    assert [len(sent.kwargs["it"]) for sent in app.plans[0].sendings] == [2, 2, 1]
    assert [sent.route_name for sent in app.plans[0].sendings] == ["add"] * 3
    assert len(result.results) == 3
    with pytest.raises(ConfigError, match="1 or more"):
        chunks(add(), [], 0).group()


def test_chunks_before_another_task_are_a_chord():
    new = plan(chunks(add(), [(1, 1), (2, 2)], 1) | add(3), context=PlanContext())
    assert [sent.task for sent in new.sendings] == ["celery.starmap"] * 2
    assert new.sendings[0].embed["chord"]["args"] == (3,)


def test_the_invert_operator_sends_and_waits(app):
    class Answer:
        def get(self):
            return 42

    sig = add(1, app=app)
    sig.apply_async = Answer
    assert ~sig == 42


def test_or_in_place_composes():
    work = add(1)
    work |= add(2)
    assert isinstance(work, chain)


def test_repr_is_the_call_in_words():
    assert repr(add(2, 2) | add(4)) == "add(2, 2) | add(4)"
    assert repr(group(add(1), Signature("mul", (2,), {"x": 3}))) == "group([add(1), mul(2, x=3)])"
    assert repr(chord([add(1)], add(2))) == "chord([add(1)], add(2))"
    assert repr(chord([add(1)])) == "<chord without body: [add(1)]>"
    assert (repr(group()), repr(chain())) == ("group(<empty>)", "<empty chain>")
    assert add(2).reprcall(1) == "add(1, 2)"


def test_graphs_show_what_waits_for_what():
    work = add(1).on_error(add(0)) | group(add(2), add('"3"')) | add(4)
    work.tasks[0].link(add(5))
    drawn = work.graph()
    assert drawn.arrows == [(0, 1), (0, 2), (0, 3), (2, 4), (3, 4)]
    assert "    t3[\"add('&quot;3&quot;')\"]" in work.to_mermaid().splitlines()
    assert "    t2 --> t4" in work.to_mermaid().splitlines()
    assert '    t3 [label="add(\'\\"3\\"\')"];' in drawn.to_dot().splitlines()
    assert drawn.to_dot().endswith("    t3 -> t4;\n}\n")


def test_kinds_are_told_by_the_subtask_type():
    assert [kind(sig) for sig in (add(), chain(add(), add()), group(), chord([], add()), xmap(add(), []))] == [
        "task",
        "chain",
        "group",
        "chord",
        "task",
    ]
