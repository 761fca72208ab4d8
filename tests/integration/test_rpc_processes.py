"""The rpc:// backend and processes: answers belong to the one that has sent the task, through forks and at its end."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pika
import pytest
from publishing import declare
from replies import Answerer, Desk, answering, document

from amqtask.errors import NoResultBackend
from amqtask.results.base import Record

pytestmark = pytest.mark.rabbitmq


def test_a_fork_between_send_and_wait_leaves_the_answer_to_the_parent(desk: Desk, answerer: Answerer):
    task_id = desk.send()
    parents = desk.backend.reply_to
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        report = "?"
        try:
            try:
                desk.get(task_id, timeout=60)
            except NoResultBackend:
                own = desk.send()
                with answering(desk.url) as mine:
                    mine.answer(desk.backend.reply_to, own)
                desk.get(own)
                try:
                    desk.get(task_id, timeout=60)
                except NoResultBackend as error:
                    report = f"{desk.backend.reply_to} {error}"
        except BaseException as error:
            report = repr(error)
        os.write(writer, report.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        report = pipe.read()
    os.waitpid(pid, 0)
    assert report.startswith("amqtask.reply.")
    assert "after a fork" in report
    assert not report.startswith(parents)
    answerer.answer(parents, task_id)
    assert set(desk.get(task_id)) == {task_id}


def test_a_process_that_sent_nothing_is_told_that_no_answer_can_come(vhost_url: str):
    desk = Desk(vhost_url)
    with pytest.raises(NoResultBackend, match="only the process that has sent a task"):
        desk.backend.watch(["somebody-elses"])
    assert desk.backend.fetch(["somebody-elses"]) == {}
    desk.close()


def test_groups_are_kept_in_this_process_only(desk: Desk):
    desk.backend.save_group("g", b"document")
    assert desk.backend.fetch_group("g") == b"document"
    desk.backend.forget_group("g")
    with pytest.raises(NoResultBackend, match="was not saved by this process"):
        desk.backend.fetch_group("g")


def test_a_document_of_ones_own_is_kept_here(desk: Desk):
    desk.backend.store([Record("t", "QUEUED", document("t", status="QUEUED"), final=False)])
    assert set(desk.backend.fetch(["t"])) == {"t"}


def test_the_end_of_the_process_leaves_no_queue(vhost_url: str, answerer: Answerer):
    declare(vhost_url, "q")
    program = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
        from replies import Desk
        desk = Desk({vhost_url!r})
        desk.send()
        print(desk.backend.reply_to)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stderr == ""
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="NOT_FOUND"):
        answerer.count(result.stdout.strip())


def test_a_daemon_thread_that_waits_does_not_hold_up_the_end_of_the_process(vhost_url: str):
    declare(vhost_url, "q")
    program = f"""
        import sys, threading
        sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
        from replies import Desk, answering
        from waiting import wait_for
        desk = Desk({vhost_url!r})
        ids = [desk.send(), desk.send()]
        for task_id in ids:
            threading.Thread(target=desk.get, args=(task_id,), kwargs={{"timeout": None}}, daemon=True).start()
        with answering(desk.url) as answerer:
            wait_for(lambda: answerer.consumers(desk.backend.reply_to) == 1)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stderr == ""
