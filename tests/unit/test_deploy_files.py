"""Generated files: read by the programs they are for where these are here, else by a parser of their format."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys

import pytest
import yaml

from amqtask import Amqtask
from amqtask.cli.deploy.compose import compose
from amqtask.cli.deploy.kubernetes import kubernetes
from amqtask.cli.deploy.plan import plan
from amqtask.cli.deploy.supervisor import supervisor
from amqtask.cli.deploy.systemd import systemd
from amqtask.cli.main import main

ROUTING = """\
version: 1
queues: {mail: {}, big_files: {}}
pools:
  mail: {queues: [mail], pool: threads}
  big_files: {queues: [big_files]}
"""


@pytest.fixture
def pools(tmp_path):
    (tmp_path / "routing.yaml").write_text(ROUTING)
    app = Amqtask("My App", routing=tmp_path / "routing.yaml", worker_shutdown_timeout=90)
    return plan(app, "proj.app")


@pytest.fixture
def single():
    app = Amqtask("solo", beat_schedule={"each": {"task": "x", "schedule": 10.0}})
    return plan(app, "proj")


def test_there_is_a_worker_per_pool_and_a_scheduler_if_there_is_a_schedule(pools, single):
    assert [unit.words for unit in pools.units] == [
        ("worker", "-A", "proj.app", "--pool-name", "mail"),
        ("worker", "-A", "proj.app", "--pool-name", "big_files"),
    ]
    assert [unit.name for unit in single.units] == ["worker", "beat"]
    assert single.units[1].words == ("beat", "-A", "proj")


def test_workers_that_have_to_patch_for_gevent_are_told_so_on_their_command_line(tmp_path):
    (tmp_path / "routing.yaml").write_text(ROUTING.replace("pool: threads", "pool: gevent"))
    app = Amqtask("green", routing=tmp_path / "routing.yaml")
    assert [unit.words[3:] for unit in plan(app, "proj").units] == [
        ("--pool-name", "mail", "-P", "gevent"),
        ("--pool-name", "big_files"),
    ]
    by_setting = Amqtask("green", routing=tmp_path / "routing.yaml", worker_pool="gevent")
    assert all(unit.words[-2:] == ("-P", "gevent") for unit in plan(by_setting, "proj").units)
    assert plan(Amqtask("alone", worker_pool="gevent"), "proj").units[0].words[-2:] == ("-P", "gevent")


def test_the_kill_comes_after_the_grace_time(pools):
    assert pools.grace >= 95


def sections(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False, comment_prefixes=("#", ";"))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return parser


def test_systemd_units_notify_reload_and_do_not_restart_in_vain(pools):
    text = systemd(pools, python="/v/bin/python", folder="/srv/app", user="app")
    first, second = text.split("# /etc/systemd/system/my-app-big_files.service")
    assert "big_files" in second
    service = sections(first)["Service"]
    assert service["Type"] == "notify"
    assert service["WatchdogSec"] == "60"
    assert service["ExecStart"] == "/v/bin/python -m amqtask worker -A proj.app --pool-name mail"
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert service["RestartPreventExitStatus"] == "64 77 78"
    assert int(service["TimeoutStopSec"]) >= 95


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_finds_nothing_wrong_with_its_units(pools, single, tmp_path):
    for number, each in enumerate((pools, single)):
        text = systemd(each, python=sys.executable, folder=str(tmp_path), user="root")
        for part, unit in enumerate(text.split("# /etc/systemd/system/")[1:]):
            (tmp_path / f"u{number}{part}.service").write_text(f"# {unit}")
    units = [str(path) for path in tmp_path.glob("*.service")]
    assert len(units) == 4
    checked = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=60, check=False
    )
    problems = [line for line in checked.stderr.splitlines() if str(tmp_path) in line or line.startswith("u")]
    assert not problems


def test_a_percent_sign_reaches_the_worker_as_it_is(single):
    assert "-n worker@%%h" in systemd(single, python="python", folder="/", user="u")
    assert "-n worker@%%h" in supervisor(single, python="python", folder="/", user="u")


def test_supervisor_ends_the_whole_group_and_waits_for_running_tasks(pools):
    parser = sections(supervisor(pools, python="python", folder="/srv/app", user="app"))
    program = parser["program:my-app-mail"]
    assert (program["stopasgroup"], program["killasgroup"], program["stopsignal"]) == ("true", "true", "TERM")
    assert int(program["stopwaitsecs"]) >= 95
    assert parser["group:my-app"]["programs"] == "my-app-mail,my-app-big_files"


def test_compose_has_a_service_per_worker_that_waits_for_the_broker(pools):
    services = yaml.safe_load(compose(pools, image="shop:1"))["services"]
    assert list(services) == ["rabbitmq", "mail", "big_files", "monitor"]
    assert services["monitor"]["profiles"] == ["monitor"]  # its packages may not be in the image
    assert services["monitor"]["ports"] == ["127.0.0.1:5555:5555"]
    mail = services["mail"]
    assert mail["depends_on"]["rabbitmq"]["condition"] == "service_healthy"
    assert mail["healthcheck"]["test"] == ["CMD", "amqtask", "check", "ready", "--health", ":8080"]
    assert mail["command"][-2:] == ["--health", ":8080"]
    assert mail["init"] is True


def test_kubernetes_has_probes_grace_and_a_scaler_per_queue(pools, single):
    text = kubernetes(pools, image="shop:1", replicas=(0, 7), backlog=50)
    assert "&id" not in text
    deployment, scaler, second, _ = yaml.safe_load_all(text)
    pod = deployment["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["terminationGracePeriodSeconds"] >= 95
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "health"}
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["startupProbe"]["httpGet"]["path"] == "/startupz"
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert (scaler["spec"]["minReplicaCount"], scaler["spec"]["maxReplicaCount"]) == (0, 7)
    assert scaler["spec"]["triggers"][0]["metadata"]["queueName"] == "mail"
    assert second["metadata"]["name"] == "my-app-big-files"
    *_, beat = yaml.safe_load_all(kubernetes(single, image="shop:1", replicas=(1, 1), backlog=1))
    assert beat["spec"]["replicas"] == 2
    watched = beat["spec"]["template"]["spec"]["containers"][0]
    assert watched["command"] == ["amqtask", "beat", "-A", "proj", "--health", ":8080", "--log-format", "json"]
    assert watched.keys() >= {"livenessProbe", "readinessProbe", "startupProbe", "ports"}


def test_the_scheduler_is_watched_as_workers_are(single):
    text = systemd(single, python="python", folder="/", user="u").partition("solo-beat.service")[2]
    service = sections(text)["Service"]
    assert (service["Type"], service["WatchdogSec"]) == ("notify", "60")
    assert "ExecReload" not in service
    assert "# The scheduler says" in text
    beat = yaml.safe_load(compose(single, image="shop:1"))["services"]["beat"]
    assert beat["command"][-2:] == ["--health", ":8080"]
    assert beat["healthcheck"]["test"][:4] == ["CMD", "amqtask", "check", "ready"]


def test_a_schedule_of_the_routing_file_needs_a_scheduler_too(tmp_path):
    (tmp_path / "routing.yaml").write_text("schedule: {report: {task: r, every: 1h}}\n")
    assert plan(Amqtask("app", routing=tmp_path / "routing.yaml"), "proj").beat is not None


@pytest.mark.parametrize(
    ("broker", "variable", "told"),
    [
        ("'amqp://u:hush@one/'", None, True),
        ("'amqp://u:hush@one/'", "amqp://two/", True),
        ("'amqp://u:hush@one/'", "amqp://u:hush@one/", False),  # maybe read from there
        ("None", "amqp://two/", False),
    ],
)
def test_a_broker_in_the_code_is_remarked_for_it_wins_over_the_files(
    tmp_path, monkeypatch, capsys, broker, variable, told
):
    name = f"deployed_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(f"from amqtask import Amqtask\napp = Amqtask('shop', broker={broker})\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("AMQTASK_BROKER_URL", raising=False)
    if variable:
        monkeypatch.setenv("AMQTASK_BROKER_URL", variable)
    assert main(["-A", name, "generate", "systemd"]) == 0
    output, remarks = capsys.readouterr()
    assert output.startswith("# /etc/systemd")
    assert (f"broker_url is set in {name}.py:2 and wins over AMQTASK_BROKER_URL" in remarks) == told
    assert "hush" not in remarks
