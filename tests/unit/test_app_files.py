"""Where routing.yaml is looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from amqtask import ConfigError
from amqtask.app import files


def test_routing_is_found_from_the_current_folder_then_beside_the_module(tmp_path, monkeypatch):
    here, home = tmp_path / "here", tmp_path / "home"
    for folder in (here, home):
        folder.mkdir()
    monkeypatch.chdir(here)
    (home / "routing.yaml").write_text("version: 1\n")
    assert files.find_routing("routing.yaml", home) == home / "routing.yaml"
    (here / "routing.yaml").write_text("version: 1\n")
    assert files.find_routing("routing.yaml", home) == Path("routing.yaml")
    with pytest.raises(ConfigError, match=f"no file 'other.yaml' .*{here}/other.yaml and {home}/other.yaml"):
        files.find_routing("other.yaml", home)
