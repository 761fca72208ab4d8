"""What every result backend does with documents."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from stores import record
from waiting import wait_for

from amqtask.wire.ids import new_id


def test_what_is_stored_is_fetched_byte_for_byte(backend, task_id):
    one = record(task_id, result={"text": "größer", "list": [1, None]})
    backend.store([one])
    assert backend.fetch([task_id]) == {task_id: one.document}


def test_documents_need_not_be_text(backend, task_id):
    one = record(task_id)._replace(document=bytes(range(256)), content_type="application/x-msgpack")
    backend.store([one])
    assert backend.fetch([task_id]) == {task_id: one.document}


def test_what_is_not_there_is_not_in_the_answer(backend, task_id):
    backend.store([record(task_id)])
    assert set(backend.fetch([new_id(), task_id, new_id()])) == {task_id}
    assert backend.fetch([]) == {}


def test_many_records_are_stored_and_fetched_at_once(backend):
    records = [record(new_id(), result=number) for number in range(700)]
    backend.store(records)
    assert backend.fetch([one.task_id for one in records]) == {one.task_id: one.document for one in records}


def test_a_document_of_a_megabyte_is_kept(backend, task_id):
    one = record(task_id, result="x" * 999_800)
    backend.store([one])
    assert backend.fetch([task_id])[task_id] == one.document


def test_states_follow_each_other(backend, task_id):
    for state in ("STARTED", "RETRY", "STARTED", "FAILURE", "SUCCESS"):
        one = record(task_id, state)
        backend.store([one])
        assert backend.fetch([task_id])[task_id] == one.document


@pytest.mark.parametrize("state", ["STARTED", "FAILURE", "REVOKED"])
def test_a_success_is_never_replaced_by_another_state(backend, task_id, state):
    success = record(task_id, result=1)
    backend.store([success])
    backend.store([record(task_id, state)])
    assert backend.fetch([task_id])[task_id] == success.document


def test_a_success_replaces_a_success(backend, task_id):
    backend.store([record(task_id, result=1)])
    backend.store([record(task_id, result=2)])
    assert backend.fetch([task_id])[task_id] == record(task_id, result=2).document


def test_of_several_states_in_one_batch_the_success_stays(backend, task_id):
    success = record(task_id, result=1)
    other = new_id()
    backend.store([record(task_id, "STARTED"), record(other, "STARTED"), success, record(other, "FAILURE")])
    backend.store([success, record(task_id, "FAILURE")])
    found = backend.fetch([task_id, other])
    assert found == {task_id: success.document, other: record(other, "FAILURE").document}


def test_forgotten_documents_are_gone_and_can_be_stored_again(backend, task_id):
    other = new_id()
    backend.store([record(task_id), record(other)])
    backend.forget([task_id, new_id()])
    assert set(backend.fetch([task_id, other])) == {other}
    backend.forget([task_id])
    backend.store([record(task_id, "STARTED")])
    assert backend.fetch([task_id])[task_id] == record(task_id, "STARTED").document


def test_documents_expire_and_are_cleaned_up(place, task_id):
    backend = place.open(result_expires=place.shortest)
    store_and_see(backend, record(task_id))
    backend.save_group(f"group-{task_id}", b"[]")
    wait_for(lambda: not backend.fetch([task_id]))
    wait_for(lambda: backend.fetch_group(f"group-{task_id}") is None)
    assert backend.clean_up() >= 0
    assert backend.clean_up() == 0
    store_and_see(backend, record(task_id, "STARTED"))  # what has expired does not stand in the way
    backend.close()


def store_and_see(backend, one):
    """Store it until it is seen: a busy machine may be late for so short a life."""
    wait_for(lambda: backend.store([one]) or backend.fetch([one.task_id]))


def test_documents_that_have_not_expired_survive_cleaning_up(place, backend, task_id):
    forever = place.open(result_expires=0.0)
    other = new_id()
    backend.store([record(task_id)])
    forever.store([record(other)])
    backend.clean_up()
    forever.clean_up()
    assert set(backend.fetch([task_id, other])) == {task_id, other}
    forever.close()


@pytest.mark.parametrize("place", ["file"], indirect=True)
def test_a_file_that_goes_while_the_folder_is_cleaned_up_is_no_error(place, backend, task_id):
    backend.store([record(task_id)])
    gone = Path(urlsplit(place.url).path) / "celery-task-meta-gone"
    gone.symlink_to("nowhere")  # is listed, and can't be found
    assert backend.clean_up() == 0
    assert backend.fetch([task_id])
    gone.unlink()


def test_groups_are_saved_fetched_and_forgotten(backend, task_id):
    document = b'{"result": [["g", null], [[["a", null], null]]]}'
    assert backend.fetch_group(task_id) is None
    backend.save_group(task_id, b"{}")
    backend.save_group(task_id, document)
    assert backend.fetch_group(task_id) == document
    assert backend.fetch([task_id]) == {}  # a group is no task
    backend.forget_group(task_id)
    assert backend.fetch_group(task_id) is None


@pytest.mark.parametrize("name", ["with space/and:slash", "ünïcode", "я" * 60, "a" * 300, "nul\0"])
def test_ids_may_be_any_text(backend, task_id, name):
    strange = f"{task_id[:30]}{name}"
    backend.store([record(strange), record(task_id)])
    assert set(backend.fetch([strange, task_id])) == {strange, task_id}
    backend.forget([strange])
    assert set(backend.fetch([strange, task_id])) == {task_id}
    backend.save_group(strange, b"{}")
    assert backend.fetch_group(strange) == b"{}"
    backend.forget_group(strange)
    assert backend.fetch_group(strange) is None


@pytest.mark.parametrize("state", ["S" * 300, "ünïcode " * 9])
def test_states_may_be_any_text(backend, task_id, state):
    backend.store([record(task_id, state)])
    assert set(backend.fetch([task_id])) == {task_id}
    backend.store([record(task_id)])
    assert backend.fetch([task_id]) == {task_id: record(task_id).document}


async def _afetch(backend, task_id):
    try:
        return await backend.afetch([task_id, new_id()])
    finally:
        await backend.aclose()


def test_coroutines_fetch_too(backend, task_id):
    import asyncio

    backend.store([record(task_id)])
    assert asyncio.run(_afetch(backend, task_id)) == {task_id: record(task_id).document}
    assert asyncio.run(_afetch(backend, task_id)) == {task_id: record(task_id).document}  # another loop
