"""Fixtures of the acceptance tests."""

from __future__ import annotations

import pytest
from command_line import Shell, new_shell
from terminal import Terminal


@pytest.fixture
def shell(tmp_path, vhost_url) -> Shell:
    """A folder with an app, and a vhost of its own."""
    return new_shell(tmp_path, vhost_url)


@pytest.fixture
def terminal(tmp_path):
    """An empty folder, and no broker."""
    folder = tmp_path / "here"
    folder.mkdir()
    made = Terminal(folder)
    yield made
    made.close()
