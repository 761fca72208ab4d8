"""The supervisor of `amqtask dev`: children that are replaced, companions beside them, patience with errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_for

PROGRAM = """
import subprocess, sys
from amqtask.cli import supervisor
supervisor.FIRST_PAUSE = 0.05
write = lambda name, line: print(f"{name}|{line.decode()}", flush=True)
fifo, start, *words = sys.argv[1:]
known = {name: [sys.executable, "-c", code] for name, code in zip(words[::2], words[1::2])}
wanted = lambda text: {name: known[name] for name in text.split()}
boss = supervisor.Supervisor(wanted(start), write, patient=True)
boss.spawn(["cat", fifo], lambda line: boss.replace(wanted(line.decode())), lambda code: boss.end(5))
other = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
boss.attach(other, lambda line: boss.say(f"heard {line.decode()}"), lambda code: boss.say("the other ended"))
other.stdin.write(b"hello\\n")
other.stdin.flush()
code = boss.run()
print(f"the other runs: {other.poll() is None}", flush=True)
sys.exit(code)
"""

SERVE = r"""
import os, signal, sys
def stop(number, frame):
    os.write(1, f"signal {number}\n".encode())
    GATE
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
os.write(1, f"pid {os.getpid()}\n".encode())
while True: signal.pause()
"""

QUICK = SERVE.replace("GATE", "")


class Boss:
    """A running supervisor that is told by a pipe which children to have."""

    def __init__(self, folder: Path, start: str, **children: str) -> None:
        self.path, fifo = folder / "output", folder / "fifo"
        os.mkfifo(fifo)
        self.orders = os.open(fifo, os.O_RDWR)
        words = [word for pair in children.items() for word in pair]
        with self.path.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, fifo, start, *words], stdout=output, stderr=subprocess.STDOUT
            )

    @property
    def lines(self) -> list[str]:
        return self.path.read_text().splitlines()

    def wait_line(self, text: str, times: int = 1) -> None:
        wait_for(lambda: sum(text in line for line in self.lines) >= times)

    def order(self, names: str) -> None:
        os.write(self.orders, names.encode() + b"\n")

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


@pytest.fixture
def boss(tmp_path):
    started: list[Boss] = []

    def start(first: str, **children: str) -> Boss:
        started.append(Boss(tmp_path, first, **children))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
        os.close(one.orders)


def test_a_replaced_child_ends_warm_and_starts_anew_at_once(boss):
    tree = boss("mail", mail=QUICK)
    tree.wait_line("mail|pid")
    tree.order("mail")
    tree.wait_line("mail|pid", 2)
    assert tree.lines.count("mail|signal 15") == 1
    assert not any("starting it again" in line for line in tree.lines)
    assert tree.stop() == 0


def test_children_come_and_go(boss):
    tree = boss("mail", mail=QUICK, files=QUICK)
    tree.wait_line("mail|pid")
    tree.order("files")
    tree.wait_line("files|pid")
    tree.wait_line("mail|signal 15")
    tree.order("files mail")
    tree.wait_line("files|pid", 2)
    tree.wait_line("mail|pid", 2)
    assert tree.stop() == 0
    assert tree.lines.count("mail|signal 15") == 2


def test_a_child_that_is_ending_already_is_not_told_twice(boss, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    tree = boss("mail", mail=SERVE.replace("GATE", f"open({str(gate)!r}).read()"))
    tree.wait_line("mail|pid")
    tree.order("mail")
    tree.wait_line("mail|signal 15")
    tree.order("mail")
    tree.order("mail")
    tree.process.send_signal(signal.SIGTERM)  # nor by the first Ctrl-C
    gate.write_text("")
    assert tree.process.wait(60) == 0
    assert tree.lines.count("mail|signal 15") == 1
    assert len([line for line in tree.lines if line.startswith("mail|pid")]) == 1


def test_a_child_that_cannot_run_like_this_waits_for_a_change(boss, tmp_path):
    flag = tmp_path / "flag"
    code = f"import os, sys\nif not os.path.exists({str(flag)!r}): sys.exit(78)\n"
    tree = boss("mail", mail=code + QUICK)
    tree.wait_line("|mail can't run like this (exit code 78); waiting for a change")
    flag.touch()
    tree.order("mail")
    tree.wait_line("mail|pid")
    assert tree.stop() == 0


def test_the_end_of_a_companion_can_end_everything_with_its_code(boss):
    tree = boss("mail", mail=QUICK)
    tree.wait_line("mail|pid")
    os.kill(companion(tree), signal.SIGTERM)
    assert tree.process.wait(60) == 5
    assert "mail|signal 15" in tree.lines


def companion(tree: Boss) -> int:
    """The process that reads the orders."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = path.joinpath("stat").read_text().rpartition(")")[2].split()[1]
            words = path.joinpath("cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if parent == str(tree.process.pid) and words[0] == b"cat" and b"fifo" in words[1]:
            return int(path.name)
    raise AssertionError("no companion")


def test_an_attached_process_is_heard_but_not_ended(boss):
    tree = boss("mail", mail=QUICK)
    tree.wait_line("|heard hello")
    tree.wait_line("mail|pid")
    assert tree.stop() == 0
    assert tree.lines[-1] == "the other runs: True"
