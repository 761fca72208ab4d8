"""scripts/test: what it runs, on which brokers, and how it tells what came of it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from suites.__main__ import Run
from suites.plan import AMQP, DEV, NEWEST, ORDER, OURS, OWN, PARTS, Stage, in_order, instead, read, stages
from suites.report import Report


def planned(*words: str, given: bool = False) -> list[tuple[str, str | None]]:
    found = [(stage.part, stage.broker) for stage in stages(read(list(words)), given=given)]
    return list(dict.fromkeys(found))


def test_everything_runs_on_the_usual_brokers():
    assert planned() == [
        ("static", None),
        ("unit", None),
        ("property", None),
        ("typing", None),
        ("conformance", DEV),
        ("conformance", OWN),
        ("conformance", NEWEST),
        ("integration", DEV),
        ("integration", OWN),
        ("acceptance", OWN),
        ("chaos", OWN),
    ]


def test_a_broker_of_the_environment_stands_for_every_rabbitmq():
    assert planned("conformance", given=True) == [("conformance", DEV), ("conformance", OWN)]
    assert planned("chaos", "--broker", "4.3", given=True) == [("chaos", "4.3")]


def test_brokers_are_chosen_by_name_and_parts_without_one_run_once():
    found = planned("--broker", "dev,newest", "unit", "integration", "--broker=3.10")
    assert found == [("unit", None), ("integration", "dev"), ("integration", "4.3"), ("integration", "3.10")]
    assert planned("chaos", "--broker", "all") == [("chaos", name) for name in ("dev", "3.10", "4.0", "4.3")]
    with pytest.raises(ValueError, match=r"no broker '3\.9': dev, 3\.10"):
        read(["--broker", "3.9"])


def test_what_is_no_part_and_no_file_goes_to_pytest():
    wanted = read(["integration", "-k", "unit", "--broker", "dev", "-x"])
    assert (wanted.parts, wanted.rest, wanted.brokers) == (("integration",), ("-k", "unit", "-x"), ("dev",))


def test_files_run_without_a_broker_only_when_none_of_them_needs_one():
    assert planned("tests/unit/test_ids.py::test_x") == [("files", None)]
    assert planned("tests/unit/test_ids.py", "tests/chaos") == [("files", OWN)]
    (stage,) = stages(read(["tests/unit/test_ids.py", "-x"]), given=False)
    assert stage.targets == ("tests/unit/test_ids.py",)


def test_a_part_whose_broker_is_missing_runs_on_the_dev_broker_once():
    plan = stages(read([]), given=False)
    chaos, conformance = (next(s for s in plan if s[:2] == (part, OWN)) for part in ("chaos", "conformance"))
    assert instead(chaos, plan) == Stage("chaos", DEV, chaos.targets)
    assert instead(conformance, plan) is None


def test_what_needs_no_broker_runs_on_the_first_only():
    plan = stages(read(["conformance"]), given=False)
    assert [(stage.broker, stage.again) for stage in plan] == [
        (DEV, False),
        (DEV, False),
        (OWN, True),
        (NEWEST, True),
    ]


def test_what_computes_begins_first_and_every_stage_has_its_turn():
    plan = stages(read([]), given=False)
    order = in_order(plan)
    assert sorted(order, key=str) == sorted(plan, key=str)
    assert list(dict.fromkeys(stage.part for stage in order)) == list(ORDER)
    assert set(ORDER) == set(PARTS)
    assert in_order(stages(read(["tests/unit/test_ids.py"]), given=False))


class Nothing:
    """Brokers of a run that needs none."""

    def drop(self, name: str) -> None:
        raise AssertionError(name)


def run_of(monkeypatch: pytest.MonkeyPatch, pytest_run, *words: str) -> Run:
    monkeypatch.setattr("suites.__main__.pytest", pytest_run)
    monkeypatch.setattr("suites.__main__.check", lambda name: True)
    wanted = read(list(words))
    return Run(wanted, stages(wanted, given=False), Nothing())


def test_all_stages_run_some_at_a_time_and_types_after_the_checks_that_fill_their_cache(monkeypatch, capsys):
    together = threading.Barrier(2, timeout=30)
    ran: list[str] = []

    def tests(targets, environment, *, show):
        if targets != ["tests/typing"]:
            together.wait()  # neither ends before the other has begun
        ran.append(targets[0])
        return 0, "1 passed in 1s"

    run = run_of(monkeypatch, tests, "static", "unit", "property", "typing")
    run.all()
    assert sorted(ran) == ["tests/property", "tests/typing", "tests/unit"]
    assert run.report.ok
    names = [line.partition(" ")[0] for line in run.report.text(1).splitlines()]
    assert names.index("import-linter") < names.index("typing")
    assert "--- unit\n1 passed" in capsys.readouterr().out


def test_a_stage_that_breaks_ends_the_run(monkeypatch):
    ran: list[str] = []

    def tests(targets, environment, *, show):
        ran.append(targets[0])
        raise OSError("no pytest")

    run = run_of(monkeypatch, tests, "unit")
    with pytest.raises(OSError, match="no pytest"):
        run.all()
    assert ran == ["tests/unit"]


def test_the_files_of_tests_that_wait_long_run_in_shares_that_are_all_of_them(pytestconfig, monkeypatch):
    monkeypatch.chdir(pytestconfig.rootpath)
    shares = [stage.targets for stage in stages(read(["chaos"]), given=False)]
    assert sorted(file for share in shares for file in share) == sorted(map(str, Path("tests/chaos").glob("test_*.py")))
    longest = {"tests/chaos/test_rpc_faults.py", "tests/chaos/test_worker_faults.py"}
    assert not any(longest <= {*share} for share in shares)
    (whole,) = stages(read(["chaos"]), given=True)
    assert whole.targets == ("tests/chaos",)


def test_the_conformance_tests_are_all_run_on_the_first_broker(pytestconfig):
    folder = pytestconfig.rootpath / "tests" / "conformance"
    covered = [pytestconfig.rootpath / path for path in (*AMQP, *OURS)]
    tests = list(folder.rglob("test_*.py"))
    assert tests
    assert [test for test in tests if not any(test == path or path in test.parents for path in covered)] == []


def test_every_part_has_a_folder(pytestconfig):
    assert all((pytestconfig.rootpath / "tests" / part).is_dir() for part in PARTS[1:])


def test_the_report_counts_and_a_run_that_broke_off_has_failed():
    report = Report()
    report.tested("unit", "", 3.2, 0, "...\n\x1b[32m== \x1b[1m12 passed\x1b[0m, 1 skipped in 3.10s ==\n")
    report.tested("chaos", "dev", 1, 5, "no tests ran in 0.10s\n")
    assert report.ok
    report.tested("integration", "dev", 10, 1, "2 failed, 3 passed, 1 error in 9s")
    report.tested("acceptance", "dev", 10, -6, "Fatal Python error: Aborted")
    text = report.text(20)
    assert not report.ok
    assert text.splitlines()[-1] == "15 passed, 4 failed, 1 skipped in 20 s"
    assert "ended with exit code -6" in text
    assert "NOT TESTED" not in text


def test_what_this_machine_can_not_test_is_told_at_the_end():
    report = Report()
    report.missing("RabbitMQ 4.3", "it runs in a chroot, for which this has to be root", "conformance")
    report.missing("RabbitMQ", "no Debian", "integration")
    report.missing("RabbitMQ", "no Debian", "chaos")
    output = "only on RabbitMQ: TLS (23)\nonly on RabbitMQ: keeping messages over a restart (4)\n5 passed in 1s"
    report.tested("integration", "dev", 10, 0, output)
    text = report.text(20)
    assert report.ok
    assert "NOT TESTED ON THIS MACHINE" in text
    assert "  conformance on RabbitMQ 4.3:\n    it runs in a chroot" in text
    assert "  integration, chaos on RabbitMQ:\n    no Debian\n" in text
    assert "    TLS (23 tests)\n    keeping messages over a restart (4 tests)\n" in text
