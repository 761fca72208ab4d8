"""`amqtask dead`: list, show, retry and drop against RabbitMQ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from waiting import wait_for

from amqtask.app.dead import DeadLetters
from amqtask.broker.admin import Admin
from amqtask.broker.interface import ConnectionOptions
from amqtask.broker.url import parse_urls
from amqtask.errors import QueueFull
from amqtask.wire.message import Outgoing, Properties, strip_broker_headers

if TYPE_CHECKING:
    from command_line import Shell


@pytest.fixture
def admin(shell):
    shell.run("topology", "apply")
    with Admin(parse_urls(shell.url), ConnectionOptions()) as admin:
        yield admin


def bury(admin: Admin, number: int, **more) -> str:
    """Put a dead letter into emails.dead as a worker does; returns its id."""
    task_id = f"00000000-0000-7000-8000-{number:012d}"
    headers = {
        "task": "shop.mail.send", "id": task_id, "retries": 3, "trace": "kept",
        "expires": "2020-01-01T00:00:00+00:00", "x-amqtask-lost": 1,
        "x-amqtask-reason": "failed", "x-amqtask-exception": "ValueError",
        "x-amqtask-message": f"no such address: {number}",
        "x-amqtask-traceback": f"File shop.py, line 9\nValueError: no such address: {number}\n",
        "x-amqtask-worker": "mail@box", "x-amqtask-attempts": 4,
        "x-amqtask-first-time": "2026-11-21T10:00:00+00:00",
        "x-amqtask-last-time": "2026-11-21T10:05:00+00:00",
        "x-amqtask-queue": "emails", **more,
    }  # fmt: skip
    properties = Properties(
        content_type="application/json",
        content_encoding="utf-8",
        headers=headers,
        correlation_id=task_id,
        priority=2,
    )
    body = b'[["%d@example.org"], {"body": "hi"}, {}]' % number
    admin.publish(Outgoing("", "emails.dead", properties, body))
    return task_id


def listed(shell: Shell) -> list[str]:
    return [row["id"] for row in shell.json("dead", "list", "emails")]


def test_an_empty_or_missing_queue_has_no_dead_letters(shell):
    assert shell.run("dead", "list", "emails").stdout == "No dead letters in emails\n"
    assert shell.json("dead", "list", "emails") == []
    assert shell.run("dead", "retry", "emails").stdout == "0 messages put back into emails\n"
    assert shell.run("dead", "drop", "emails").stdout == "0 messages dropped from emails.dead\n"


def test_list_shows_what_failed_oldest_first_and_leaves_it_there(shell, admin):
    ids = [bury(admin, number) for number in range(5)]
    out = shell.run("dead", "list", "emails").stdout.splitlines()
    assert out[0].split() == ["ID", "TASK", "REASON", "ERROR", "ATTEMPTS", "LAST", "TIME"]
    for line, task_id in zip(out[1:], ids, strict=True):
        assert line.startswith(task_id)
        assert "ValueError: no such address" in line
    assert listed(shell) == listed(shell) == ids
    assert [row["id"] for row in shell.json("dead", "list", "emails", "--limit", "2")] == ids[:2]
    assert listed(shell) == ids


def test_a_retry_that_the_queue_refuses_halfway_keeps_the_order(shell, admin):
    ids = [bury(admin, number) for number in range(15)]
    letters = DeadLetters(admin, "emails")
    publish, refused = admin.publish, []

    def full(message: Outgoing) -> None:
        refused.append(message)
        if len(refused) > 3:
            raise QueueFull("full")
        publish(message)

    admin.publish = full  # the first three get in
    with pytest.raises(QueueFull):
        letters.retry(ids[2:])
    wait_for(lambda: len(letters) == 12)
    assert [message.id for message in letters.read()] == [*ids[:2], *ids[5:]]
    wait_for(lambda: len(letters) == 12)
    assert [message.id for message in letters.read(4)] == [*ids[:2], *ids[5:7]]


def test_the_name_of_the_dead_letter_queue_is_understood_too(shell, admin):
    bury(admin, 1)
    assert len(shell.json("dead", "list", "emails.dead")) == 1


def test_show_tells_everything_about_one_message(shell, admin):
    bury(admin, 1)
    task_id = bury(admin, 2)
    out = shell.run("dead", "show", "emails", task_id).stdout
    for text in (
        "Args:         ['2@example.org']", "Kwargs:       {'body': 'hi'}", "Worker:       mail@box",
        "Reason:       failed", "Attempts:     4", "  trace: kept", "Traceback:\nFile shop.py, line 9",
    ):  # fmt: skip
        assert text in out
    assert shell.json("dead", "show", "emails", task_id)["args"] == ["2@example.org"]


def test_show_of_an_unknown_id_is_exit_65(shell, admin):
    bury(admin, 1)
    assert "not in emails.dead: nope" in shell.run("dead", "show", "emails", "nope", code=65).stderr


def test_retry_puts_one_message_back_as_if_never_tried(shell, admin):
    first, second, third = (bury(admin, number) for number in range(3))
    assert shell.run("dead", "retry", "emails", second).stdout == "1 message put back into emails\n"
    assert listed(shell) == [first, third]
    received = admin.get("emails")
    assert received is not None
    assert strip_broker_headers(received.properties.headers) == {
        "task": "shop.mail.send",
        "id": second,
        "trace": "kept",
    }
    assert received.properties.correlation_id == second
    assert received.properties.priority == 2
    assert received.properties.delivery_mode == 2
    assert received.properties.message_id
    assert received.body == b'[["1@example.org"], {"body": "hi"}, {}]'


def test_retry_without_an_id_puts_all_back_in_order(shell, admin):
    ids = [bury(admin, number) for number in range(20)]
    assert shell.run("dead", "retry", "emails").stdout == "20 messages put back into emails\n"
    assert listed(shell) == []
    got = [admin.get("emails") for _ in ids]
    assert [one.properties.correlation_id for one in got if one] == ids


def test_retry_names_the_ids_it_did_not_find(shell, admin):
    task_id = bury(admin, 1)
    ended = shell.run("dead", "retry", "emails", task_id, "nope", code=65)
    assert ended.stdout == "1 message put back into emails\n"
    assert ended.stderr == "Error: not in emails.dead: nope\n"


def test_drop_throws_away_what_was_named_and_asks_before_all(shell, admin):
    first, second = bury(admin, 1), bury(admin, 2)
    assert shell.run("dead", "drop", "emails", first).stdout == "1 message dropped from emails.dead\n"
    assert listed(shell) == [second]
    assert "Throw away 1 dead letter of emails?" in shell.run("dead", "drop", "emails", code=64).stderr
    assert shell.run("dead", "drop", "emails", "-f").stdout == "1 message dropped from emails.dead\n"
    assert listed(shell) == []


def test_garbage_has_an_id_that_stays_the_same(shell, admin):
    admin.publish(Outgoing("", "emails.dead", Properties(), b"\x00garbage"))
    bury(admin, 1)
    (garbage, _) = listed(shell)
    assert garbage == listed(shell)[0]
    assert garbage.startswith("body-")
    assert "\\x00garbage" in shell.run("dead", "show", "emails", garbage).stdout
    shell.run("dead", "drop", "emails", garbage)
    assert len(listed(shell)) == 1


def test_messages_dead_lettered_by_the_broker_show_its_reason(shell, admin):
    properties = Properties(headers={"task": "shop.mail.send", "id": "abc"}, expiration="1")
    admin.publish(Outgoing("", "emails", properties, b"[[], {}, {}]"))
    wait_for(lambda: shell.queues()["emails"]["dead"] == 1)
    (row,) = shell.json("dead", "list", "emails")
    assert (row["id"], row["reason"]) == ("abc", "expired")
    assert "waited longer than its time to live" in row["message"]
    shell.run("dead", "retry", "emails")
    received = admin.get("emails")
    assert received is not None
    assert strip_broker_headers(received.properties.headers) == {"task": "shop.mail.send", "id": "abc"}
    assert received.properties.expiration is None


def test_a_message_that_cant_go_back_stays_a_dead_letter(shell, admin):
    ids = [bury(admin, number) for number in range(3)]
    admin.delete_queue("emails")
    assert len(shell.run("dead", "retry", "emails", code=65).stderr.splitlines()) == 1
    assert listed(shell) == ids


def test_messages_that_die_again_meanwhile_are_not_met_twice(shell, admin):
    """Each replayed message is buried again at once, as a fast worker would do."""
    ids = [bury(admin, number) for number in range(3)]

    class Fast(Admin):
        def publish(self, message: Outgoing) -> None:
            super().publish(message)
            bury(admin, 100 + int(message.body[3:4]))

    with Fast(parse_urls(shell.url), ConnectionOptions()) as fast:
        assert DeadLetters(fast, "emails").retry() == ids
    assert len(listed(shell)) == 3
