"""The benchmark still runs: every measure once, with tiny counts, for amqtask and raw pika."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.rabbitmq

PROJECT = Path(__file__).resolve().parents[2]
PEERS = ("-p", "amqtask", "-p", "raw")


def benchmark(*arguments: str, results: Path, broker: str) -> str:
    command = [sys.executable, PROJECT / "benchmarks" / "run.py", *arguments, "--results", results]
    ran = subprocess.run(
        command, env=os.environ | {"AMQTASK_BROKER_URL": broker}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize(
    ("measure", "rows", "figures"),
    [
        (("enqueue", "--seconds", "0.1", "-m", "classic"), 4, {"rate", "cpu10k", "broker10k", "lost"}),
        (("drain", "--scale", "0.03", "-m", "prefork 2, prefetch 64, classic"), 1, {"rate", "cpu10k", "pss"}),
        (("drain", "--scale", "0.03", "-m", "Select, 2 processes, classic"), 1, {"rate", "cpu10k", "pss"}),
        (("latency", "--samples", "5", "-m", "prefork 2, classic"), 1, {"p50", "p95", "p99"}),
        (("idle", "--idle", "0.1", "-m", "prefork 2"), 1, {"first_task", "pss", "processes"}),
    ],
    ids=["enqueue", "drain", "drain-raw", "latency", "idle"],
)
def test_a_measure_of_the_benchmark_gives_its_figures(
    measure: tuple[str, ...], rows: int, figures: set[str], tmp_path: Path, vhost_url: str
) -> None:
    results = tmp_path / "results.json"
    benchmark(*measure, *PEERS, "-r", "1", results=results, broker=vhost_url)
    measured = json.loads(results.read_text())["rows"]
    assert len(measured) == rows
    for row in measured.values():
        assert figures <= row["median"].keys()
        assert row["median"].get("lost", 0) == 0


def test_the_table_names_every_target_with_a_verdict(tmp_path: Path, vhost_url: str) -> None:
    results = tmp_path / "results.json"
    arguments = ("enqueue", "--seconds", "0.1", "-m", "delay_many", "-m", "classic", "-r", "1")
    benchmark(*arguments, results=results, broker=vhost_url)
    table = benchmark("table", results=results, broker=vhost_url)
    assert "delay_many, classic: CPU10k" in table
    assert "not measured" in table
