"""Fixtures of the acceptance tests."""

from __future__ import annotations

import pytest
from command_line import Shell, new_shell


@pytest.fixture
def shell(tmp_path, vhost_url) -> Shell:
    """A folder with an app, and a vhost of its own."""
    return new_shell(tmp_path, vhost_url)
