"""The dev broker's reference page: nothing that can be asked of it is missing, and its table is that of the suite."""

from __future__ import annotations

import inspect
import runpy
from pathlib import Path
from typing import Any

import pytest

from amqtask.testing.devbroker.facade import Facade

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reference" / "devbroker.md").read_text()
SUITE = ROOT / "tests" / "conformance" / "amqp"
SCRIPT = ROOT / "scripts" / "conformance_table.py"

RESULT = """\
<testsuites><testsuite>
<testcase classname="tests.conformance.amqp.test_amqp_ttl" name="a"/>
<testcase classname="tests.conformance.amqp.test_amqp_ttl" name="b">{trouble}</testcase>
</testsuite></testsuites>
"""


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@pytest.mark.parametrize("name", [name for name, _ in inspect.getmembers(Facade, callable) if not name.startswith("_")])
def test_every_command_is_described(name: str) -> None:
    parameters = [one for one in inspect.signature(getattr(Facade, name)).parameters if one != "self"]
    assert f"`{name}({parameters[0]}" in PAGE if parameters else f"`{name}()" in PAGE


@pytest.mark.parametrize("area", sorted(path.stem for path in SUITE.glob("test_*.py")))
def test_every_area_of_the_suite_is_in_the_table(script: dict[str, Any], area: str) -> None:
    assert f"| {script['subject'](area)} |" in PAGE


def results(script: dict[str, Any], folder: Path, **troubles: str) -> dict[str, Any]:
    found = {}
    for broker, trouble in troubles.items():
        (folder / broker).write_text(RESULT.format(trouble=trouble))
        found[broker] = script["read"](folder / broker)
    return found


def test_cases_that_did_not_pass_stand_out(script: dict[str, Any], tmp_path: Path) -> None:
    made = script["table"](results(script, tmp_path, one="", two="<failure/>", three="<skipped/>"))
    assert made.splitlines()[-1] == "| **all** | 2 | 2 | **1 of 2** | **1 of 2** |"


def test_results_of_another_suite_are_refused(script: dict[str, Any], tmp_path: Path) -> None:
    found = results(script, tmp_path, one="")
    found["two"] = {"test_amqp_ttl": script["Counts"](1, 1)}
    with pytest.raises(SystemExit, match="two: other cases than the first one"):
        script["table"](found)
