"""The results file: every run of every row, their medians, and where and with what they were made."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import platform
import statistics
import subprocess
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from harness.measures import Figures
    from harness.node import Node
    from variants import Variant

_REPOSITORY = Path(__file__).resolve().parents[2]
_PACKAGES = ("amqp", "billiard", "celery", "dramatiq", "kombu", "msgpack", "pika", "psutil")


class Store:
    """Rows by key; written to the file after every run, so that an interrupted session keeps what it has."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._data: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        self._fresh: set[str] = set()

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        return self._data.get("rows", {})

    @property
    def session(self) -> dict[str, Any]:
        return self._data.get("session", {})

    def begin(self, node: Node) -> None:
        """Note the circumstances of this session; rows of former ones stay until they are measured again."""
        self._data["session"] = _circumstances(node)
        self._data.setdefault("rows", {})

    def add(self, variant: Variant, figures: Figures) -> None:
        """Add a run; the first of a session replaces the row."""
        if variant.key not in self._fresh:
            self._fresh.add(variant.key)
            self._data["rows"][variant.key] = {**asdict(variant), "runs": []}
        row = self._data["rows"][variant.key]
        row["runs"].append(figures)
        row["median"] = {name: statistics.median(run[name] for run in row["runs"]) for name in figures}
        row["commit"], row["date"] = self.session["commit"], self.session["date"]
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps(_plain(self._data), indent=1) + "\n")
        part.replace(self._path)


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.5g}")
    return value


def _circumstances(node: Node) -> dict[str, Any]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="minutes"),
        "commit": _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain", "amqtask") else ""),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "rabbitmq": node.version(),
        "packages": versions,
    }


def _git(*words: str) -> str:
    ran = subprocess.run(["git", *words], cwd=_REPOSITORY, capture_output=True, text=True, check=False)
    return ran.stdout.strip()


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
