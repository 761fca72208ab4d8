"""``amqtask control``: steer running workers."""

from __future__ import annotations

from amqtask.cli.remote import asking

COMMAND = asking(
    "control",
    "Steer running workers.",
    """Change something in workers and print each answer as it comes; exit code 69 when nobody answers.

    \b
    amqtask control revoke 0190c0de-...        a task must not run any more
    amqtask control rate_limit shop.mail 10/m  not more often than that
    amqtask control pool_grow 2 -d w1@host     more slots in one worker
    amqtask control --list                     all that can be changed
    """,
)
