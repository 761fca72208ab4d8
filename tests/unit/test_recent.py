"""Recognising messages that come again."""

from __future__ import annotations

from worker_messages import delivery

from amqtask.worker.deliveries.recent import Recent


def again(first, *, epoch=2, tag=77):
    return delivery(
        first.queue, redelivered=True, message_id=first.properties.message_id, epoch=epoch, tag=tag, id=first.id
    )


def test_a_message_that_finished_here_is_recognised_when_it_is_delivered_again():
    recent, first = Recent(10), delivery()
    recent.start(first)
    recent.finish(first)
    assert recent.arrive(again(first)) == "finished"


def test_a_message_that_still_runs_here_adopts_the_new_delivery():
    recent, first = Recent(10), delivery()
    recent.start(first)
    assert recent.arrive(again(first)) == "running"
    assert (first.epoch, first.tag) == (2, 77)


def test_a_message_that_was_abandoned_runs_again():
    recent, first = Recent(10), delivery()
    recent.start(first)
    recent.abandon(first)
    assert recent.arrive(again(first)) == "new"


def test_a_message_that_is_not_redelivered_is_never_taken_for_an_old_one():
    recent, first = Recent(10), delivery(message_id="same")
    recent.start(first)
    recent.finish(first)
    assert recent.arrive(delivery(message_id="same")) == "new"


def test_a_replay_of_the_same_task_has_another_message_id_and_runs():
    recent, first = Recent(10), delivery(id="task-1")
    recent.start(first)
    recent.finish(first)
    assert recent.arrive(delivery(id="task-1", redelivered=True, message_id="another")) == "new"


def test_copies_of_one_publish_in_several_queues_are_several_messages():
    recent, first = Recent(10), delivery("one", id="task-1", message_id="same")
    recent.start(first)
    second = delivery("two", id="task-1", message_id="same", redelivered=True, epoch=2)
    assert recent.arrive(second) == "new"
    assert first.epoch == 1
    recent.finish(first)
    assert recent.arrive(second) == "new"


def test_messages_of_a_sender_that_always_sets_the_same_message_id_are_told_by_their_task_ids():
    recent, first = Recent(10), delivery(message_id="1")
    recent.start(first)
    recent.finish(first)
    assert recent.arrive(delivery(message_id="1", redelivered=True)) == "new"


def test_garbage_without_any_id_is_equal_to_nothing():
    recent = Recent(10)
    first, second = (delivery(id=None, redelivered=True) for _ in range(2))
    first.identity, second.identity = delivery(id=None).identity, delivery(id=None).identity
    recent.finish(first)
    assert recent.arrive(second) == "new"


def test_only_the_latest_finished_messages_are_remembered():
    recent = Recent(2)
    made = [delivery() for _ in range(3)]
    for one in made:
        recent.start(one)
        recent.finish(one)
    assert [recent.arrive(again(one)) for one in made] == ["new", "finished", "finished"]
