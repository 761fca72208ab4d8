"""The documentation names what there is: options, exceptions, reasons, objects on the broker, settings, pages."""

from __future__ import annotations

import ast
import re
import shlex
from dataclasses import fields
from pathlib import Path

import click
import pytest

import amqtask
from amqtask import errors
from amqtask.app.dead import _BROKER_REASONS as BROKER_REASONS
from amqtask.cli.main import cli
from amqtask.config.settings import NAMES, doc_of
from amqtask.control.pauses import NAME as PAUSED
from amqtask.control.tombstones import QUEUE as REVOKED
from amqtask.tasks.context import Context
from amqtask.tasks.options import SEND_OPTIONS, TaskOptions
from amqtask.wire.dead_headers import DEAD_HEADERS
from amqtask.worker.deliveries.outcome import DEAD_REASONS, UNSENDABLE, WORKER_LOST

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TEXT = "\n".join(page.read_text() for page in PAGES)


def text_of(page: str) -> str:
    return (DOCS / page).read_text()


def names(page: str, what: str) -> set[str]:
    """The names in the first column of a marked table."""
    (table,) = re.findall(rf"<!-- names of {what} -->\n(.*?)<!-- end of names -->", text_of(page), flags=re.DOTALL)
    return {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split(" | ")[0])}


def context_names() -> set[str]:
    properties = {name for name, value in vars(Context).items() if isinstance(value, property)}
    return {item.name for item in fields(Context)} | properties


def exceptions() -> set[str]:
    public = {name: getattr(amqtask, name) for name in amqtask.__all__}
    found = {name for name, value in public.items() if isinstance(value, type) and issubclass(value, Exception)}
    return found - {"AmqtaskError"}


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("TaskOptions", {item.name for item in fields(TaskOptions)}),
        ("SendOptions", SEND_OPTIONS),
        ("Context", context_names()),
        ("errors", exceptions()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_reference_of_tasks_has_every_name_and_no_other(what, expected):
    assert names("reference/tasks.md", what) == expected


def test_every_exception_of_amqtask_is_a_public_name():
    public = set(amqtask.__all__)
    defined = {name for name, value in vars(errors).items() if isinstance(value, type) and name[0].isupper()}
    assert {name for name in defined if issubclass(getattr(errors, name), Exception)} - public == {"Replaced"}


@pytest.mark.parametrize("name", [name for name in amqtask.__all__ if name != "__version__"])
def test_every_public_name_is_documented(name):
    assert re.search(rf"\b{name}\b", TEXT)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_programs_in_the_documentation_are_python(page):
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL):
        compile(block, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_settings_that_promise_less_are_told_where_the_promises_are():
    less = [name for name in NAMES if re.search(r"transient|instead of dead-letter|false: dead-letter", doc_of(name))]
    less += [name for name in NAMES if "a crash runs it again" in doc_of(name)]
    assert {"task_default_delivery_mode", "task_acks_late", "task_acks_on_failure", "task_acks_on_timeout"} <= {*less}
    assert [name for name in less if f"`{name}" not in text_of("explanation/guarantees.md")] == []


def test_every_reason_and_header_of_a_dead_letter_is_documented():
    page = text_of("reference/wire.md")
    reasons = {*DEAD_REASONS.values(), WORKER_LOST, UNSENDABLE}
    assert [reason for reason in reasons if f"| `{reason}` | worker |" not in page] == []
    assert [reason for reason in BROKER_REASONS if f"| `{reason}` | broker |" not in page] == []
    assert [header for header in DEAD_HEADERS if f"`{header}`" not in page] == []


def test_every_object_that_amqtask_makes_on_the_broker_is_documented():
    page = text_of("reference/broker.md")
    sources = [path for path in (ROOT / "amqtask").rglob("*.py") if "testing" not in path.parts]
    found = {
        name
        for path in sources
        for name in re.findall(r'f?"(amqtask\.[a-z.]+\.)(?:\{[^"]*)?"', path.read_text())
        if not name.startswith("amqtask.contrib.")
    }
    assert {"amqtask.reply.", "amqtask.election.", "amqtask.beat.reply."} <= found
    found = (found - {"amqtask.errors."}) | {REVOKED, PAUSED, "celery.pidbox", "celeryev."}
    assert [name for name in sorted(found) if f"`{name}" not in page] == []


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: str(page.relative_to(ROOT)))
def test_anchors_lead_to_headings(page):
    links = re.findall(r"\]\(([^)\s:]*)#([^)\s]+)\)", page.read_text())
    assert [f"{file}#{name}" for file, name in links if name not in anchors(page.parent / file if file else page)] == []


def test_every_page_is_in_the_index():
    index = text_of("README.md")
    pages = [page.relative_to(DOCS) for page in PAGES if page.parent.name != "adr" and page.parent != DOCS]
    assert [str(page) for page in pages if f"({page})" not in index] == []


def shown_commands() -> list[tuple[str, str]]:
    """Page and line of every command of amqtask's in the shell blocks."""
    found = []
    for page in [*PAGES, ROOT / "README.md"]:
        for block in re.findall(
            r"^ *```(?:bash|console)\n(.*?)^ *```", page.read_text(), flags=re.MULTILINE | re.DOTALL
        ):
            lines = [line.strip().removeprefix("$ ") for line in block.replace("\\\n", " ").splitlines()]
            found += [(page.name, line) for line in lines if line.startswith("amqtask ")]
    return found


def unknown_words(line: str) -> list[str]:
    """Commands and options in it that do not exist."""
    words = [word for word in shlex.split(re.split(r" \| | \$\(", line)[0], comments=True)[1:] if word != "&"]
    command: click.Command = cli
    wrong, names = [], iter(words)
    for word in names:
        if word.startswith("-"):
            options = {name: one for one in (*cli.params, *command.params) for name in (*one.opts, *one.secondary_opts)}
            option = options.get(word.partition("=")[0])
            if option is None:
                wrong.append(word)
            elif "=" not in word and not getattr(option, "is_flag", False):
                next(names, None)
        elif isinstance(command, click.Group):
            inner = command.get_command(click.Context(command), word)
            if inner is None:
                return [*wrong, word]
            command = inner
    return wrong


def test_commands_in_the_documentation_exist_with_their_options():
    commands = shown_commands()
    assert len(commands) > 40
    own_grammar = ("amqtask multi ", "amqtask inspect free_space")
    assert [(page, line) for page, line in commands if not line.startswith(own_grammar) and unknown_words(line)] == []
