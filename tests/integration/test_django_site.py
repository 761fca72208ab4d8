"""The Django project of examples/django as a user runs it: ``manage.py amqtask worker``, tasks sent on commit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_for

pytestmark = pytest.mark.rabbitmq

PROJECT = Path(__file__).resolve().parents[2] / "examples" / "django"

PROGRAM = """
import json
import django
django.setup()
from django.core.management import call_command
from django.db import connection, transaction
from orders.models import Order
from orders.services import place
from orders.tasks import acharge, charge

call_command("migrate", verbosity=0)
order, charged = place("tea")
told = charged.id
try:
    with transaction.atomic():
        charge.delay_on_commit(Order.objects.create(item="never").pk)
        raise KeyError
except KeyError:
    pass
with transaction.atomic():
    awaited = acharge.apply_async_on_commit((Order.objects.create(item="coffee").pk,))
answers = [charged.get(timeout=30), awaited.get(timeout=30)]
states = list(Order.objects.order_by("pk").values_list("item", "state"))
print(json.dumps([answers, states, told == charged.id]))
"""


def test_a_task_that_is_sent_on_commit_finds_and_changes_the_row(vhost_url, tmp_path):
    environment = {
        **os.environ,
        "AMQTASK_BROKER_URL": vhost_url,
        "SHOP_DATABASE": str(tmp_path / "shop.sqlite3"),
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    log = tmp_path / "worker.log"
    sender = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    words = [sys.executable, str(PROJECT / "manage.py"), "amqtask", "worker"]
    with log.open("wb") as output:  # from another folder, as a supervisor would
        worker = subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=output, stderr=output)
    try:
        answers, states, same = json.loads(sender.communicate(timeout=60)[0])
        assert answers == ["tea: charged", "coffee: charged"]
        assert states == [["tea", "charged"], ["coffee", "charged"]]
        assert same
        worker.terminate()
        assert worker.wait(timeout=60) == 0
        wait_for(lambda: "2 received, 2 succeeded" in log.read_text())
        assert "DEBUG is on in Django's settings" in log.read_text()
    finally:
        for process in (sender, worker):
            process.kill()
            process.wait()
