"""Composed work run in the calling process: ``apply()`` and ``task_always_eager``."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from amqtask import Amqtask, ChordError, chain, chord, group


@pytest.fixture
def app():
    return Amqtask("eager", broker="amqp://nobody@127.0.0.1:1/")


@pytest.fixture
def tasks(app):
    seen: list[object] = []
    functions = {
        "add": lambda x, y: x + y,
        "xsum": sum,
        "fail": lambda *_args: int("no luck"),
        "note": seen.append,
    }
    made = {name: app.task(name=name, retry=False)(function) for name, function in functions.items()}
    return SimpleNamespace(seen=seen, **made)


def test_chains_groups_and_chords_give_what_workers_would(tasks):
    add, xsum = tasks.add, tasks.xsum
    assert chain(add.s(2, 2), add.s(4), add.s(8)).apply().get() == 16
    assert group(add.s(i, i) for i in range(4)).apply().get() == [0, 2, 4, 6]
    assert chord([add.s(i, i) for i in range(10)], xsum.s()).apply().get() == 90
    assert (group(add.s(1, 1), add.s(2, 2)) | xsum.s() | add.s(10)).apply().get() == 16
    assert chain(add.s(1, 1), group(add.s(1), add.s(2)), xsum.s()).apply().get() == 7


def test_the_steps_before_can_be_asked(tasks):
    result = chain(tasks.add.s(2, 2), tasks.add.s(4), tasks.add.s(8)).apply()
    assert (result.parent.get(), result.parent.parent.get()) == (8, 4)


def test_maps_and_chunks_call_the_task_for_each_item(tasks):
    assert tasks.xsum.map([range(3), [4]]).apply().get() == [3, 4]
    assert tasks.add.starmap([(1, 2), (3, 4)]).apply().get() == [3, 7]
    assert tasks.add.chunks(zip(range(5), range(5), strict=True), 2).apply().get() == [[0, 2], [4, 6], [8]]


def test_callbacks_follow_success_and_errbacks_failure(tasks):
    tasks.add.s(1, 2).set(link=tasks.note.s()).apply()
    assert tasks.seen == [3]
    failed = tasks.fail.s().set(link=tasks.note.s(), link_error=tasks.note.s()).apply()
    assert tasks.seen == [3, failed.id]


def test_what_follows_from_a_task_has_it_as_its_parent_as_in_a_worker(app):
    @app.task(bind=True, retry=False)
    def step(self, *_args, fail=False):
        places.append((self.request.id, self.request.parent_id, self.request.root_id))
        return int("no luck") if fail else 1

    @app.task(bind=True)
    def errback(self, _task_id):
        places.append((self.request.id, self.request.parent_id, self.request.root_id))

    places: list[tuple[str, str | None, str]] = []
    chain(step.s().set(link=step.s()), step.s().set(link=step.s() | step.s())).apply()
    ids = first, _, second, third, _ = [task_id for task_id, *_ in places]
    parents = (None, first, first, second, third)
    assert places == [(task_id, parent, first) for task_id, parent in zip(ids, parents, strict=True)]
    places.clear()
    (step.si() | group(step.si(), step.si()) | step.s() | step.s()).apply()
    first, _, member, then, _ = [task_id for task_id, *_ in places]
    assert [parent for _, parent, _ in places] == [None, first, first, member, then]
    places.clear()
    step.s(fail=True).set(link_error=errback.s()).apply()
    (failed, *_), (_, parent, root) = places
    assert (parent, root) == (failed, failed)


def test_a_failure_ends_a_chain(tasks):
    result = chain(tasks.add.s(1, 1), tasks.fail.s(), tasks.note.s()).apply()
    with pytest.raises(ValueError, match="no luck"):
        result.get()
    assert tasks.seen == []


def test_the_body_of_a_chord_fails_when_a_member_does(tasks):
    body = tasks.xsum.s().on_error(tasks.note.s())
    result = chord([tasks.add.s(1, 1), tasks.fail.s()], body).apply()
    with pytest.raises(ChordError, match=r"raised ValueError"):
        result.get()
    assert tasks.seen == [result.id]


def test_with_task_always_eager_signatures_are_not_sent(tasks, app):
    with app.rebound(task_always_eager=True):
        assert chain(tasks.add.s(1, 1), tasks.add.s(2)).delay().get() == 4
        assert chord([tasks.add.s(1, 1)], tasks.xsum.s())().get() == 2


def test_arguments_are_serialised_as_for_sending(tasks):
    with pytest.raises(TypeError, match="argument 1 can't be sent"):
        tasks.add.s(object(), 1).apply()


def test_a_task_may_let_other_work_take_its_place(app, tasks):
    @app.task(name="spread", bind=True)
    def spread(self, values):
        self.replace(group(tasks.add.s(value, 1) for value in values))

    @app.task(name="doomed", bind=True)
    def doomed(self):
        self.replace(tasks.fail.s())

    result = spread.apply(([1, 2],))
    assert (result.get(), result.name) == ([2, 3], "spread")
    with pytest.raises(ValueError, match="invalid literal"):
        doomed.apply().get()


def test_what_a_task_was_stamped_with_is_in_its_request():
    from amqtask import Context
    from amqtask.wire.message import TaskMessage

    context = Context("t", "i", message=TaskMessage("t", "i", stamps={"user": "ann"}))
    assert (context.stamps, context.stamped_headers, Context("t").stamps) == ({"user": "ann"}, ("user",), {})


def test_stamps_are_seen_by_every_task_as_in_a_worker(app):
    seen = []

    @app.task(bind=True, retry=[1])
    def stamped(self, *_args):
        seen.append((dict(self.request.stamps), self.request.stamped_headers, self.request.headers.get("plain")))
        if len(seen) == 1:
            raise self.retry()

    work = chord([stamped.s(), stamped.s()], stamped.s().set(link=stamped.s()))
    work.stamp(customer="ada", order=7)
    work.apply()
    assert seen == [({"customer": "ada", "order": 7}, ("customer", "order"), None)] * 5
    seen.clear()
    with app.rebound(task_always_eager=True):
        stamped.s().set(headers={"plain": 1}).stamp(customer="bob").delay()
    assert seen == [({"customer": "bob"}, ("customer",), 1)] * 2


@pytest.mark.parametrize(
    "body_of",
    [group, lambda first, last: first | last, lambda first, last: chord([first], last)],
    ids=["group", "chain", "chord"],
)
def test_the_errbacks_of_a_body_of_any_kind_hear_of_its_chord(tasks, body_of):
    body = body_of(tasks.xsum.s().on_error(tasks.note.s()), tasks.xsum.s())
    result = chord([tasks.add.s(1, 1), tasks.fail.s()], body).apply()
    assert result.failed()
    assert tasks.seen == [result.id]


@pytest.mark.parametrize("work_of", [lambda bad, _ok: bad, lambda bad, ok: chord([bad], ok), lambda bad, ok: bad | ok])
def test_errbacks_that_take_the_exception_get_it(work_of):
    app, heard = Amqtask("errbacks"), []

    @app.task(name="bad")
    def bad():
        raise ValueError("no")

    @app.task(name="ok")
    def ok(value):
        return value

    @app.task(name="hear")
    def hear(request, error, _traceback):
        heard.append((request.id, str(error)))

    work = work_of(bad.s(), ok.s())
    result = work.on_error(hear.s()).apply()
    ((task_id, text),) = heard
    assert task_id == result.id
    assert "no" in text
