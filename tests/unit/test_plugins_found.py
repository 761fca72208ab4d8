"""Parts of other packages are found wherever importlib finds packages; it is asked only when there may be some."""

from __future__ import annotations

import sys
import zipfile

import pytest

from amqtask.plugins import Registry

FILES = {
    "offered_parts.py": "PART = 'of a package'\n",
    "offered_parts-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: offered-parts\nVersion: 1.0\n",
    "offered_parts-1.0.dist-info/entry_points.txt": "[amqtask.offered]\nslow = offered_parts:PART\n",
}


@pytest.fixture(params=["folder", "archive", "egg"])
def place(request, tmp_path):
    """What to add to the path."""
    if request.param == "archive":
        with zipfile.ZipFile(tmp_path / "parts.zip", "w") as archive:
            for name, text in FILES.items():
                archive.writestr(name, text)
        return tmp_path / "parts.zip"
    root = tmp_path / ("parts.egg" if request.param == "egg" else "parts")
    for name, text in FILES.items():
        file = root / (name.replace("offered_parts-1.0.dist-info", "EGG-INFO") if request.param == "egg" else name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def test_a_part_of_a_package_is_found(place, monkeypatch):
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.delitem(sys.modules, "offered_parts", raising=False)
    registry = Registry("part", "amqtask.worker.pools", "PART", "amqtask.offered")
    assert "slow" in registry.names()
    assert registry.get("slow") == "of a package"


def test_no_part_of_a_package_is_found_where_there_is_none():
    assert "slow" not in Registry("part", "amqtask.worker.pools", "PART", "amqtask.offered").names()


@pytest.mark.parametrize("other", ["x" * 300, "missing/parts", "unreadable"])
def test_a_part_is_found_beside_what_cannot_be_read(other, place, tmp_path, monkeypatch):
    (tmp_path / "unreadable" / "a-1.0.dist-info" / "entry_points.txt").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.syspath_prepend(str(tmp_path / other))
    monkeypatch.delitem(sys.modules, "offered_parts", raising=False)
    assert "slow" in Registry("part", "amqtask.worker.pools", "PART", "amqtask.offered").names()


def test_one_package_that_cannot_be_read_hides_no_other(tmp_path, monkeypatch):
    def unreadable(name):  # for whoever runs this, root too
        (tmp_path / f"{name}-1.0.dist-info" / "entry_points.txt").mkdir(parents=True)

    unreadable("before")
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    unreadable("behind")  # a folder is read in either order
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "slow" in Registry("part", "amqtask.worker.pools", "PART", "amqtask.offered").names()
