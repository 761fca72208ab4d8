"""Old names of settings in files, rewritten."""

from __future__ import annotations

import pytest

from amqtask.cli.main import main
from amqtask.config.celery_names import OLD_NAMES
from amqtask.config.rewriting import rewrite

OLD = """\
from kombu import Queue  # BROKER_URL in a comment stays
BROKER_URL = 'amqp://guest@localhost//'
CELERYD_CONCURRENCY = 6; CELERY_TIMEZONE = "Asia/Shanghai"
BROKER_URL += "?heartbeat=5"
app.conf.update(CELERYD_MAX_TASKS_PER_CHILD=3, more={"CELERY_ROUTES": 1, b"CELERY_ROUTES": 2})
app.conf.CELERY_ENABLE_UTC = app.conf["CELERY_ACKS_LATE"] = True
os.environ["BROKER_URL"], settings.BROKER_URL, "CELERY_ROUTES", TIMEZONE, CELERY_HOME, größe
"""

NEW = """\
from kombu import Queue  # BROKER_URL in a comment stays
broker_url = 'amqp://guest@localhost//'
worker_concurrency = 6; timezone = "Asia/Shanghai"
broker_url += "?heartbeat=5"
app.conf.update(worker_max_tasks_per_child=3, more={"task_routes": 1, b"CELERY_ROUTES": 2})
app.conf.enable_utc = app.conf["task_acks_late"] = True
os.environ["BROKER_URL"], settings.BROKER_URL, "CELERY_ROUTES", TIMEZONE, CELERY_HOME, größe
"""


def test_names_of_settings_are_replaced_and_nothing_else():
    text, changes = rewrite(OLD)
    assert text == NEW
    assert len(changes) == 8
    assert rewrite(NEW) == (NEW, [])


@pytest.mark.parametrize("old", sorted(OLD_NAMES))
def test_every_old_name_is_replaced_by_one_that_means_the_same(old):
    for namespace in (None, "CELERY"):
        text, _ = rewrite(f"{old} = 1\n", namespace)
        name = text.split(" = ")[0]
        assert name != old or namespace
        assert rewrite(text, namespace) == (text, [])


def test_with_a_namespace_names_stay_in_capitals():
    text, _ = rewrite("CELERYD_CONCURRENCY = 6\nCELERY_TIMEZONE = 'UTC'\nBROKER_URL = ''\nDEBUG = 1\n", "CELERY")
    assert text == "CELERY_WORKER_CONCURRENCY = 6\nCELERY_TIMEZONE = 'UTC'\nCELERY_BROKER_URL = ''\nDEBUG = 1\n"


def test_the_command_keeps_a_copy_and_says_what_it_did(tmp_path, capsys):
    file = tmp_path / "config.py"
    file.write_text("# é\r\nCELERYD_CONCURRENCY = 6\r\n", newline="")
    assert main(["upgrade", "settings", "--dry-run", str(file)]) == 0
    assert "CELERYD_CONCURRENCY" in file.read_text()
    assert main(["upgrade", "settings", str(file)]) == 0
    assert file.read_bytes() == "# é\r\nworker_concurrency = 6\r\n".encode()
    assert "CELERYD_CONCURRENCY" in (tmp_path / "config.py.orig").read_text()
    assert f"{file}:2: CELERYD_CONCURRENCY -> worker_concurrency" in capsys.readouterr().out


def test_a_file_that_is_no_python_is_refused(tmp_path, capsys):
    file = tmp_path / "config.yaml"
    file.write_text("a: [\n")
    assert main(["upgrade", "settings", str(file)]) == 78
    assert "is not a Python file" in capsys.readouterr().err


def test_a_form_feed_is_no_end_of_a_line():
    text = "# one\n\x0c# two\nx = 'a\x0cb'\r\nCELERYD_CONCURRENCY = 4\n"
    new, changes = rewrite(text)
    assert new == text.replace("CELERYD_CONCURRENCY", "worker_concurrency")
    assert changes[0].line == 4
