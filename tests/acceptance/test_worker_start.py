"""Workers that can't start say so and end."""

from __future__ import annotations

import pytest
from command_line import new_shell


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio", "solo"])
def test_worker_with_tls_files_that_are_not_there_ends_and_names_them(tmp_path, monkeypatch, pool):
    monkeypatch.setenv("AMQTASK_BROKER_USE_SSL", '{"ca_certs": "/nowhere/ca.pem"}')
    shell = new_shell(tmp_path, "amqps://guest:guest@localhost:1/")
    ended = shell.run("worker", "-A", "shop", "-P", pool, code=78)
    assert "/nowhere/ca.pem" in ended.stderr
    assert "Traceback" not in ended.stderr
