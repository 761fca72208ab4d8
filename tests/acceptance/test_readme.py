"""What the README and the how-tos show, run word for word; and the links of every page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
QUICK_START = README.partition("## Two minutes")[2].partition("\n## ")[0]
BY_HAND = README.partition("## With RabbitMQ")[2].partition("\n## ")[0]
RESULTS = README.partition("## Results")[2].partition("\n## ")[0]
COMPOSING = README.partition("## Composing work")[2].partition("\n## ")[0]


def files(text: str) -> dict[str, str]:
    """The files in it: a name in backticks, then a block with the content."""
    return dict(re.findall(r"^`([\w./]+)`\n\n```\w+\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL))


FILES = files(BY_HAND)


def commands(text: str) -> list[str]:
    """The blocks of shell commands in it."""
    return re.findall(r"^```bash\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def python_blocks(text: str) -> list[str]:
    """The blocks of Python in it."""
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def user() -> dict[str, str]:
    """The environment of somebody who has installed amqtask, and set nothing."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AMQTASK_")}
    return environment | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"}


def test_the_quick_start_works_as_it_is_written(tmp_path, user):
    install, first, second, _ = commands(QUICK_START)
    assert install.splitlines()[-1] == "amqtask demo"  # tests/acceptance/test_cli_demo.py runs it
    log = tmp_path / "log"
    with log.open("w") as output:
        elsewhere, *before, dev = first.strip().splitlines()
        assert elsewhere == "cd /tmp"
        line = " && ".join([*before, f"exec {dev}"])
        running = subprocess.Popen(["bash", "-c", line], cwd=tmp_path, env=user, stdout=output, stderr=output)
    try:
        wait_for(lambda: log.read_text().count(" ready, consuming ") == 2, timeout=30)
        (url,) = re.findall(r"export AMQTASK_BROKER_URL=(\S+)", log.read_text())
        other = user if ":5672/" in url else user | {"AMQTASK_BROKER_URL": url}
        ended = subprocess.run(
            ["bash", "-ec", second], cwd=tmp_path / "shop", env=other, text=True, capture_output=True, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        wait_for(lambda: "welcomed grace@example.org" in log.read_text(), timeout=30)
    finally:
        running.terminate()
        code = running.wait(timeout=30)
    assert code == 0, log.read_text()


@pytest.fixture
def shop(tmp_path, vhost_url, user):
    """A folder with the files of the example, and the environment of its user."""
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    return tmp_path, user | {"AMQTASK_BROKER_URL": vhost_url}


def test_the_example_with_rabbitmq_works_as_it_is_written(shop):
    folder, environment = shop
    assert set(FILES) == {"routing.yaml", "tasks.py", "send.py"}
    (block,) = commands(BY_HAND)
    worker, *others = block.strip().splitlines()
    assert worker.endswith(" &")
    log = folder / "worker.log"
    with log.open("w") as output:
        running = subprocess.Popen(
            ["bash", "-c", f"exec {worker.removesuffix(' &')}"],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        answers = [
            subprocess.run(
                ["bash", "-ec", command], cwd=folder, env=environment, text=True, capture_output=True, check=False
            )
            for command in others
        ]
        assert [answer.returncode for answer in answers] == [0] * len(others), answers
        wait_for(lambda: "welcomed grace@example.org" in log.read_text(), timeout=30)
        wait_for(lambda: "dead-lettered (failed)" in log.read_text(), timeout=30)
        dead = subprocess.run(
            ["bash", "-ec", others[-1]], cwd=folder, env=environment, text=True, capture_output=True, check=True
        )
        table = re.findall(r"^```\n(ID .*?)^```", BY_HAND, flags=re.MULTILINE | re.DOTALL)[0].splitlines()
        assert dead.stdout.splitlines()[0].split()[:5] == table[0].split()[:5]
        assert dead.stdout.splitlines()[1].split()[1:7] == table[1].split()[1:7]
    finally:
        running.terminate()
        code = running.wait(timeout=30)
    assert code == 0
    assert "welcomed ada@example.org" in log.read_text()
    assert log.read_text().count("succeeded in") == 2


def promised(program: str) -> list[str]:
    """What a program says that it prints: the comment behind each ``print``."""
    return re.findall(r"^print\(.*\)  # (.*)$", program, flags=re.MULTILINE)


def test_results_and_composed_work_are_what_the_comments_say(tmp_path, vhost_url, user):
    programs = files(RESULTS) | files(COMPOSING)
    assert set(programs) == {"calc.py", "ask.py", "compose.py"}
    for name, content in programs.items():
        (tmp_path / name).write_text(content)
    environment = user | {"AMQTASK_BROKER_URL": vhost_url}
    worker, *asking = [line for block in commands(RESULTS + COMPOSING) for line in block.strip().splitlines()]
    assert worker.endswith(" &")
    assert asking == ["python ask.py", "python compose.py"]
    log = tmp_path / "worker.log"
    with log.open("w") as output:
        running = subprocess.Popen(
            ["bash", "-c", f"exec {worker.removesuffix(' &')}"],
            cwd=tmp_path,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        for command in asking:
            answer = subprocess.run(
                ["bash", "-ec", command], cwd=tmp_path, env=environment, text=True, capture_output=True, check=False
            )
            expected = promised(programs[command.split()[-1]])
            assert len(expected) >= 2
            assert (answer.returncode, answer.stdout.splitlines()) == (0, expected), answer.stderr + log.read_text()
    finally:
        running.terminate()
        code = running.wait(timeout=30)
    assert code == 0, log.read_text()


RUN_PAGES = """
import pathlib, sys, traceback

for page in sys.argv[1:]:
    names = {"__name__": "__main__"}
    for block in sorted(pathlib.Path(page).iterdir()):
        try:
            exec(compile(block.read_text(), str(block), "exec"), names)
        except Exception:
            traceback.print_exc()
            sys.exit(f"{block} fails")
"""
# Takes folders: the blocks of a page, which see what the ones before have defined.


def write_blocks(folder: Path, blocks: list[str]) -> str:
    folder.mkdir()
    for number, block in enumerate(blocks):
        (folder / f"{number:02}.py").write_text(block)
    return str(folder)


@pytest.mark.parametrize("page", ["tasks.md", "results.md", "canvas.md"])
def test_the_programs_of_a_how_to_run_beside_its_worker(page, tmp_path, vhost_url, user):
    text = (ROOT / "docs/how-to" / page).read_text()
    programs = files(text)
    for name, content in programs.items():
        (tmp_path / name).write_text(content)
    (module,) = (name.removesuffix(".py") for name in programs)
    environment = user | {"AMQTASK_BROKER_URL": vhost_url}
    blocks = [block for block in python_blocks(text) if block not in programs.values()]
    assert len(blocks) >= 5
    page_blocks = write_blocks(tmp_path / "blocks", blocks)
    log = tmp_path / "worker.log"
    with log.open("w") as output:
        running = subprocess.Popen(
            ["amqtask", "worker", "-A", module, "-P", "threads"],
            cwd=tmp_path,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        ended = subprocess.run(
            [sys.executable, "-c", RUN_PAGES, page_blocks],
            cwd=tmp_path,
            env=environment,
            text=True,
            capture_output=True,
            check=False,
        )
        assert ended.returncode == 0, f"{ended.stderr}\n{log.read_text()}"
    finally:
        running.terminate()
        running.wait(timeout=30)


def test_the_programs_of_the_django_page_fit_the_example_project(tmp_path, user):
    text = (ROOT / "docs/how-to/django.md").read_text()
    named = files(text)
    assert named.keys() == {"shop/app.py", "shop/settings.py", "orders/tasks.py"}
    services, tests, settings = (block for block in python_blocks(text) if block not in named.values())
    project = shutil.copytree(ROOT / "examples" / "django", tmp_path / "project")
    (project / "shop/app.py").write_text(named["shop/app.py"])
    with (project / "shop/settings.py").open("a") as file:
        file.write(named["shop/settings.py"] + settings)
    with (project / "orders/tasks.py").open("a") as file:  # the page leaves out what its task does
        file.write(re.sub("def charge", "def charge_on_the_page", named["orders/tasks.py"]))
    (project / "orders/services.py").write_text(services)
    (project / "orders/tests.py").write_text(tests)
    for words in (["check"], ["test"], ["shell", "-c", "import orders.tasks; print(*orders.tasks.app.tasks)"]):
        ended = subprocess.run(
            [sys.executable, "manage.py", *words], cwd=project, env=user, text=True, capture_output=True, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "charge_on_the_page" in ended.stdout


NOT_RUN = re.compile(r"<!-- only compiled: .*? -->\n```python\n.*?^```", re.MULTILINE | re.DOTALL)
RUN_ELSEWHERE = {"tasks.md", "results.md", "canvas.md", "django.md"}
WORK = """
from amqtask import Amqtask

app = Amqtask("work")
"""


def test_programs_of_all_other_pages_run(tmp_path, vhost_url, user):
    folders = []
    for page in sorted((ROOT / "docs").rglob("*.md")):
        text = NOT_RUN.sub("", page.read_text())
        blocks = [block for block in python_blocks(text) if block not in files(text).values()]
        if not blocks or (page.parent.name == "how-to" and page.name in RUN_ELSEWHERE):
            continue
        folders.append(write_blocks(tmp_path / f"{page.parent.name}-{page.stem}", blocks))
    assert len(folders) >= 10
    (tmp_path / "work.py").write_text(WORK)
    shutil.copytree(ROOT / "examples" / "testing" / "shop", tmp_path / "shop")
    (tmp_path / "shop" / "config.py").write_text("worker_concurrency = 4\n")
    shutil.copy(ROOT / "examples" / "testing" / "routing.yaml", tmp_path)
    ended = subprocess.run(
        [sys.executable, "-c", RUN_PAGES, *folders],
        cwd=tmp_path,
        env=user | {"AMQTASK_BROKER_URL": vhost_url, "SHOP_KEY": "a secret of 16 characters or more"},
        text=True,
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


def test_a_fresh_machine_takes_one_command_for_the_example_and_one_for_the_tests():
    assert commands(QUICK_START)[-1].split() == ["scripts/demo"]
    assert "`scripts/test` runs all tests" in README
    assert all(os.access(ROOT / command, os.X_OK) for command in ("scripts/demo", "scripts/test"))


def pages() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_that_exist(page):
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    broken = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not broken
