"""The reference of routing.yaml is complete and current: the file itself, the schema, the page."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest
import yaml

from amqtask.topology import periodic, schema
from amqtask.topology.checks import check, warnings
from amqtask.topology.declarations import Version
from amqtask.topology.document import load
from amqtask.topology.records import Record
from amqtask.topology.router import Router

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent.parent
ROUTING = ROOT / "routing.yaml"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """scripts/routing_reference.py, which writes the files."""
    spec = importlib.util.spec_from_file_location("routing_reference", ROOT / "scripts" / "routing_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("version", [None, Version(3, 10, 8), Version(4, 0, 5), Version(4, 3, 6)])
def test_the_routing_file_is_sound_on_every_broker(version: Version | None) -> None:
    topology = load(ROUTING)
    assert check(topology, version) == []
    assert warnings(topology, version) == []


def test_the_routing_file_sends_each_task_of_the_example_where_it_belongs() -> None:
    topology = load(ROUTING)
    router = Router(topology)

    def queues(task: str) -> list[str]:
        routing = router.route(task)
        return router.queues_for(routing.exchange, routing.routing_key)

    assert queues("files.hash_small") == queues("files.compress_small") == ["files.small"]
    assert queues("files.hash_large") == queues("files.compress_large") == ["files.large"]
    assert queues("files.flaky") == queues("anything.else") == ["files.small"]
    assert queues("files.announce") == ["files.small", "files.large"]
    assert router.route("files.hash_small").priority == 5


def test_the_routing_file_uses_or_shows_every_key(reference: ModuleType) -> None:
    text = ROUTING.read_text()
    for record in reference.RECORDS.values():
        for name in record.keys:
            assert re.search(rf"\b{name}:", text), f"routing.yaml does not show {name}"


def test_what_the_routing_file_shows_in_comments_is_valid_too() -> None:
    text = re.sub(r"^( +)# (- \{.*\}|[a-z_]+: .*)$", r"\1\2", ROUTING.read_text(), flags=re.MULTILINE)
    data = yaml.safe_load(re.sub(r"^( +retry: )\{.*", r"\1{max_retries: 3}", text, flags=re.MULTILINE))
    assert data["queues"]["files.large"]["expires"] == "7d"
    jsonschema.validate(data, schema.json_schema())


def test_the_schema_file_is_current_and_is_a_schema(reference: ModuleType) -> None:
    text = reference.SCHEMA_FILE.read_text()
    assert text == reference.schema_text(), "run scripts/routing_reference.py"
    jsonschema.Draft202012Validator.check_schema(json.loads(text))
    first = ROUTING.read_text().splitlines()[0]
    assert first == f"# yaml-language-server: $schema={reference.SCHEMA_FILE.relative_to(ROOT)}"
    jsonschema.validate(yaml.safe_load(ROUTING.read_text()), json.loads(text))


def test_the_reference_page_is_current_and_has_every_key(reference: ModuleType) -> None:
    page = reference.PAGE_FILE.read_text()
    assert page == reference.page_text(page), "run scripts/routing_reference.py"
    assert set(re.findall(r"<!-- keys of (\w+) -->", page)) == set(reference.RECORDS)
    for record in reference.RECORDS.values():
        for name in record.keys:
            assert f"| `{name}` |" in page


def test_every_record_of_the_format_is_on_the_page(reference: ModuleType) -> None:
    of_modules = [*vars(schema).values(), *vars(periodic).values()]
    in_module = [value for value in of_modules if isinstance(value, Record)]
    assert {id(record) for record in in_module} == {id(record) for record in reference.RECORDS.values()}
