"""The supervisor of `amqtask up`, with small programs in place of workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_for

PROGRAM = """
import sys
from amqtask.cli import supervisor
supervisor.FIRST_PAUSE, supervisor._SAME_REQUEST = 0.05, float(sys.argv.pop(1))
write = lambda name, line: print(f"{name}|{line.decode()}", flush=True)
children = {name: [sys.executable, "-c", code] for name, code in zip(sys.argv[1::2], sys.argv[2::2])}
sys.exit(supervisor.Supervisor(children, write).run())
"""

SERVE = r"""
import os, signal, sys, time
stops = []
def stop(number, frame):
    os.write(1, f"signal {number}\n".encode())
    stops.append(number)
    if len(stops) >= LIMIT: sys.exit(0)
signal.signal(signal.SIGTERM, stop)
os.write(1, f"pid {os.getpid()}\n".encode())
while True: signal.pause()
"""


def serve(limit: int = 1) -> str:
    return SERVE.replace("LIMIT", str(limit))


class Up:
    """A running supervisor; its output goes to a file.

    Args:
        folder: for that.
        same_request: seconds in which a second signal is the same request.
        children: name -> program.
    """

    def __init__(self, folder: Path, same_request: float = 60.0, **children: str) -> None:
        self.path = folder / "output"
        words = [word for pair in children.items() for word in pair]
        with self.path.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(same_request), *words], stdout=output, stderr=subprocess.STDOUT
            )

    @property
    def lines(self) -> list[str]:
        return self.path.read_text().splitlines()

    def pids(self, name: str) -> list[int]:
        return [int(line.split()[1]) for line in self.lines if line.startswith(f"{name}|pid ")]

    def pid(self, name: str, number: int = 1) -> int:
        wait_for(lambda: len(self.pids(name)) >= number)
        return self.pids(name)[number - 1]

    def end(self) -> int:
        return self.process.wait(60)


@pytest.fixture
def up(tmp_path):
    started: list[Up] = []

    def start(**given: Any) -> Up:
        started.append(Up(tmp_path, **given))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_children_and_the_code_is_0(up, number):
    tree = up(mail=serve(), files=serve())
    pids = [tree.pid("mail"), tree.pid("files")]
    tree.process.send_signal(number)
    assert tree.end() == 0
    assert all(map(gone, pids))
    assert "mail|signal 15" in tree.lines


def test_a_second_signal_is_passed_on_and_a_third_kills(up, tmp_path):
    tree = up(mail=serve(limit=9), same_request=0.0)
    pid = tree.pid("mail")
    for count in (1, 2):
        tree.process.send_signal(signal.SIGTERM)
        wait_for(lambda count=count: tree.lines.count("mail|signal 15") == count)
    tree.process.send_signal(signal.SIGTERM)
    assert tree.end() == 0
    assert gone(pid)
    assert any("killed by SIGKILL" in line for line in tree.lines)


def test_ctrl_c_in_a_terminal_reaches_the_children_once(up):
    tree = up(mail=serve(limit=2))
    tree.pid("mail")
    tree.process.send_signal(signal.SIGINT)
    tree.process.send_signal(signal.SIGTERM)
    wait_for(lambda: "mail|signal 15" in tree.lines)
    assert os.getpgid(tree.pid("mail")) == tree.pid("mail")
    assert tree.lines.count("mail|signal 15") == 1


def test_a_child_that_dies_is_started_again(up):
    tree = up(mail=serve())
    os.kill(tree.pid("mail"), signal.SIGKILL)
    second = tree.pid("mail", 2)
    assert not gone(second)
    assert any(line.startswith("|mail ended (killed by SIGKILL); starting it again in") for line in tree.lines)
    tree.process.terminate()
    assert tree.end() == 0


def test_the_pause_before_a_restart_grows(up):
    tree = up(mail="raise SystemExit(70)")
    wait_for(lambda: len([line for line in tree.lines if "starting it again" in line]) >= 3)
    pauses = [line.rpartition(" in ")[2] for line in tree.lines if "starting it again" in line]
    assert pauses[0] != pauses[1] != pauses[2]
    tree.process.terminate()
    assert tree.end() == 0


@pytest.mark.parametrize("code", [64, 77, 78])
def test_a_code_that_no_restart_can_cure_ends_everything_with_it(up, code):
    tree = up(mail=serve(), bad=f"print('Error: wrong', flush=True); raise SystemExit({code})")
    assert tree.end() == code
    assert "bad|Error: wrong" in tree.lines
    assert len(tree.pids("mail")) <= 1
    assert all(map(gone, tree.pids("mail")))


def test_children_end_when_the_supervisor_is_killed(up):
    tree = up(mail=serve(), files=serve())
    pids = [tree.pid("mail"), tree.pid("files")]
    tree.process.kill()
    tree.process.wait()
    wait_for(lambda: all(map(gone, pids)))


def test_output_is_passed_on_line_by_line_with_the_last_one_unfinished(up):
    code = textwrap.dedent("""
        import os, sys
        os.write(1, b"first\\nsec"); os.write(2, b"ond\\nthird")
        sys.exit(78)
    """)
    tree = up(mail=code)
    assert tree.end() == 78
    assert [line for line in tree.lines if line.startswith("mail|")] == [
        "mail|first",
        "mail|second",
        "mail|third",
    ]


def test_much_output_arrives_whole(up):
    code = "for n in range(20000): print(n, 'x' * 60)\nraise SystemExit(78)"
    tree = up(mail=code)
    assert tree.end() == 78
    assert len([line for line in tree.lines if line.startswith("mail|")]) == 20000


def test_nothing_is_polled_while_nothing_happens(up):
    tree = up(mail=serve())
    tree.pid("mail")
    stat = Path(f"/proc/{tree.process.pid}/status")

    def switches() -> int:
        return sum(int(line.split()[1]) for line in stat.read_text().splitlines() if "ctxt_switches" in line)

    def is_still() -> bool:
        """It does not wake up for half a second."""
        before = switches()
        time.sleep(0.5)
        return switches() == before

    wait_for(is_still)  # what it has to do at first takes as long as the machine lets it
    tree.process.terminate()
    assert tree.end() == 0


def test_a_hangup_is_handed_on_so_that_workers_replace_themselves(up):
    hear = serve().replace("signal.SIGTERM, stop)", "signal.SIGTERM, stop)\nsignal.signal(signal.SIGHUP, lambda *_: "
                           "os.write(1, b'hup\\n'))")  # fmt: skip
    running = up(a=hear, b=hear)
    assert running.pid("a") != running.pid("b")
    running.process.send_signal(signal.SIGHUP)
    wait_for(lambda: {"a|hup", "b|hup"} <= set(running.lines))
    running.process.send_signal(signal.SIGTERM)
    assert running.end() == 0
