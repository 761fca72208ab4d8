"""scripts/services: private servers, started and ended by hand."""

from __future__ import annotations

import shlex
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from stores import folder

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "services"


def services(*words):
    return subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True, timeout=100, check=False)


def test_a_server_is_started_once_and_ended():
    with folder() as state:
        where = ["--state", str(state)]
        try:
            first, second = services("start", "redis", *where), services("start", "redis", *where)
            assert first.returncode == 0, first.stderr
            assert first.stdout == second.stdout
            name, _, url = shlex.split(first.stdout)[1].partition("=")
            assert name == "AMQTASK_REDIS_URL"
            assert f"redis        {url}" in services("status", *where).stdout
        finally:
            ended = services("stop", *where)
        assert ended.returncode == 0
        assert url not in services("status", *where).stdout
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", urlsplit(url).port or 0))
        assert list(state.iterdir()) == []


def test_an_unknown_server_is_refused():
    done = services("start", "oracle")
    assert done.returncode == 2
    assert "there are redis, postgresql, mariadb, memcached" in done.stderr
