"""Rules for every module that no linter checks: sizes, names, docstrings."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 50
VAGUE_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "manager", "managers", "tools", "stuff"}


def python_files(*folders: str) -> list[Path]:
    """Ours only: folders that begin with a dot hold environments and caches."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(ROOT).parts))


MODULES = python_files("amqtask", "examples", "scripts", "benchmarks")
TESTS = python_files("tests")


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its signature and docstring: what a reader has to follow."""
    first = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (function.end_lineno or 0) - first[0].lineno + 1 if first else 0


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    nodes = ast.walk(ast.parse(path.read_text()))
    return [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def offenders(paths, wrong) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths if wrong(path)]


def test_no_module_is_longer_than_400_lines():
    assert not offenders(MODULES + TESTS, lambda path: len(path.read_text().splitlines()) > MAX_MODULE_LINES)


def test_no_function_is_longer_than_50_lines():
    long = {
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"
        for path in MODULES
        for function in functions(path)
        if body_lines(function) > MAX_FUNCTION_LINES
    }
    assert not long


def test_every_module_says_what_it_owns():
    assert not offenders(MODULES, lambda path: not ast.get_docstring(ast.parse(path.read_text())))


def test_every_module_has_a_name_that_says_something():
    assert not offenders(MODULES + TESTS, lambda path: {path.stem.strip("_"), path.parent.name} & VAGUE_NAMES)


def test_test_files_have_unique_names():
    names = [path.name for path in TESTS if path.name.startswith("test_")]
    assert sorted(set(names)) == sorted(names)


def test_scripts_are_executable():
    for name in ("demo", "test", "check", "rabbitmq", "services", "venv"):
        assert (ROOT / "scripts" / name).stat().st_mode & 0o111, name
