"""A run that never ends, because its message is lost: released by hand, and not by mistake."""

from __future__ import annotations

import sys
import threading

import pytest
from beats import PROGRAM, QUEUE, beating, new_app
from waiting import wait_for

from amqtask import UnknownEntry
from amqtask.broker.admin import Admin
from amqtask.cli.main import main
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

pytestmark = pytest.mark.rabbitmq

SKIP = {
    "tick": {"task": "tick", "schedule": 0.2, "overlap": "skip"},
    "calm": {"task": "tick", "schedule": 60, "overlap": "skip"},
}


def test_a_run_whose_message_was_purged_holds_up_the_others_until_it_is_released(vhost_url):
    app = new_app(vhost_url, SKIP)
    with beating(app) as beat, Admin(app.broker_urls, app.connection_options) as admin:
        assert app.schedules.release("calm") is False
        wait_for(lambda: beat.pulse.sent_count)
        (held,) = (one for one in app.schedules.list() if one.run is not None)
        assert admin.get(QUEUE).properties.headers["id"] == held.run
        admin.purge(QUEUE)
        assert app.schedules.release("tick", "one that has ended") is False
        assert app.schedules.release("tick") is True
        wait_for(lambda: beat.pulse.sent_count == 2)
        with pytest.raises(UnknownEntry, match="did you mean 'tick'"):
            app.schedules.release("tock")
    app.close()


def test_a_run_that_a_worker_has_is_only_released_by_force(vhost_url, tmp_path, monkeypatch, capsys):
    (tmp_path / "released.py").write_text(PROGRAM.format(url=vhost_url, heartbeat=10, queue=QUEUE, every=60))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    app, begun, gate = new_app(vhost_url, SKIP), threading.Event(), threading.Event()

    @app.task(name="tick")
    def tick():
        begun.set()
        gate.wait(60)

    options = resolve(Requested(pool="threads", concurrency=1, hostname="w@here"), app.topology, app.settings)
    with EmbeddedWorker(app, options), beating(app) as beat:
        assert begun.wait(60)
        try:
            assert main(["-A", "released", "schedule", "release", "tick"]) == 64
            assert "w@here has its run" in capsys.readouterr().err
            assert beat.pulse.sent_count == 1
            assert main(["-A", "released", "schedule", "release", "--force", "tick"]) == 0
            assert "tick released" in capsys.readouterr().out
            wait_for(lambda: beat.pulse.sent_count == 2)
        finally:
            gate.set()
    app.close()
