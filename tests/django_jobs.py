"""Tasks of ``django.tasks``, for :mod:`test_django_tasks`. Needs Django 6, configured."""

from __future__ import annotations

import time

from django.tasks import task

from amqtask.contrib.django import Amqtask

app = Amqtask("jobs")


@task
def add(x, y=0):
    """A plain one."""
    return x + y


@task(takes_context=True)
def tell(context, text):
    """One that wants to know."""
    return [text, context.attempt, context.task_result.id, context.task_result.args]


@task(queue_name="mail", priority=100)
async def mail(text):
    """A coroutine, in a queue of its own."""
    return text.upper()


@task
def fail():
    """One that does not work."""
    raise LookupError("nothing there")


@task
def nap(seconds):
    """One that takes a while."""
    time.sleep(seconds)
