"""What one worker does about one chord queue, step by step."""

from __future__ import annotations

import pytest

from amqtask.worker.chords.state import Action, ChordState, Completion


def part(number):
    return Completion(f"m{number}", number, f"r{number}".encode())


def collecting(size=2):
    state = ChordState(size)
    state.want()
    assert state.looked(size) is Action.JOIN
    state.joined()
    return state


def test_member_is_let_go_by_a_look_that_sees_too_few():
    state = ChordState(3)
    ticket, action = state.want()
    assert action is Action.LOOK
    assert state.settled < ticket
    assert state.looked(2) is Action.NOTHING
    assert state.settled == ticket


def test_member_that_was_counted_while_a_look_was_on_its_way_waits_for_the_next():
    state = ChordState(3)
    state.want()
    second, action = state.want()
    assert action is Action.NOTHING
    assert state.looked(1) is Action.LOOK
    assert state.settled < second
    state.looked(2)
    assert state.settled == second


def test_members_in_any_order_make_results_in_the_order_of_the_header():
    state = collecting()
    assert state.arrived(1, part(1)) is Action.NOTHING
    assert state.arrived(2, part(0)) is Action.DISPATCH
    assert state.results() == [b"r0", b"r1"]
    assert state.dispatched() is Action.DELETE
    state.deleted()
    assert state.over


def test_duplicates_are_acked_the_rest_is_given_back_and_looked_at_again():
    state = collecting()
    state.arrived(1, part(0))
    state.arrived(2, part(0))
    state.arrived(3, Completion(None))
    assert state.quiet() is Action.RELEASE
    assert state.duplicates == [2, 3]
    assert state.released() is Action.LOOK


def test_worker_that_is_refused_looks_again_later():
    state = ChordState(1)
    ticket, _ = state.want()
    state.looked(1)
    assert state.refused() is Action.WAIT
    assert state.waited() is Action.LOOK
    assert state.looked(None) is Action.NOTHING
    assert state.over
    assert state.settled == ticket


def test_chord_that_has_grown_waits_for_the_new_members_and_is_not_joined_before():
    state = collecting(1)
    state.arrived(1, Completion("grow-1", more=1))
    assert state.arrived(2, part(0)) is Action.NOTHING
    assert state.missing == 1
    state.quiet()
    state.released()
    assert state.looked(2) is Action.NOTHING, "the growth and the first member"
    state.want()
    assert state.looked(3) is Action.JOIN


@pytest.mark.parametrize("complete", [False, True])
def test_deadline_fails_the_body_only_when_a_member_is_missing(complete):
    state = ChordState(2)
    state.expire()
    state.want()
    assert state.looked(1) is Action.JOIN
    state.joined()
    state.arrived(1, part(0))
    if complete:
        assert state.arrived(2, part(1)) is Action.DISPATCH
        assert state.results() == [b"r0", b"r1"]
    else:
        assert state.quiet() is Action.DISPATCH
        assert state.results() is None


def test_after_the_deadline_silence_ends_a_chord_only_when_all_that_was_there_has_come():
    """A large result on a slow line, or a loop that was held up, is no missing member."""
    state = ChordState(2)
    state.expire()
    state.want()
    assert state.looked(2) is Action.JOIN
    state.joined()
    state.arrived(1, part(0))
    assert state.quiet() is Action.RELEASE
    assert state.released() is Action.LOOK
    assert state.looked(2) is Action.JOIN
    state.joined()
    state.arrived(2, part(0))
    assert state.quiet(last=True) is Action.DISPATCH
    assert state.results() is None, "the broker gives them to nobody: that is told rather than tried for ever"


def test_body_that_is_sent_is_not_sent_again_when_the_queue_could_not_be_deleted():
    state = collecting(1)
    state.arrived(1, part(0))
    assert state.dispatched() is Action.DELETE
    assert state.lost() is Action.LOOK
    assert state.looked(1) is Action.DELETE


def test_body_on_its_way_is_waited_for_when_the_channel_is_lost():
    state = collecting(1)
    state.arrived(1, part(0))
    assert state.lost() is Action.NOTHING
    assert state.want()[1] is Action.NOTHING
    assert state.dispatched() is Action.LOOK
    assert state.looked(1) is Action.DELETE
