"""``amqtask inspect``: ask running workers."""

from __future__ import annotations

from amqtask.cli.remote import asking

COMMAND = asking(
    "inspect",
    "Ask running workers.",
    """Ask workers something and print each answer as it comes; exit code 69 when nobody answers.

    \b
    amqtask inspect active                   what runs
    amqtask inspect stats -d w1@host --json  numbers of one worker
    amqtask inspect --list                   all there is to ask
    """,
)
