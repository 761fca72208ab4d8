"""Steps of other packages and of apps: what is wrong with one is said before a worker begins."""

from __future__ import annotations

import pytest

from amqtask.errors import ConfigError
from amqtask.worker.steps.base import Step, every_step

OFFERED = '''
from amqtask.worker.steps.base import Step


class Hello(Step):
    """A step like any other."""


class Duck:
    def __init__(self, worker): ...


def make(worker):
    return Hello(worker)
'''


class Added(Step):
    """An app's."""


class Other:
    """No step: it lacks nearly everything."""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a package that offers this object of its module as the worker step 'offered'."""

    def install(name):
        (tmp_path / "offered_steps.py").write_text(OFFERED)
        info = tmp_path / "offered_steps-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: offered-steps\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[amqtask.worker_steps]\noffered_{name} = offered_steps:{name}\n")
        monkeypatch.syspath_prepend(tmp_path)

    return install


def test_steps_are_those_of_a_worker_then_of_packages_and_then_of_the_app(install):
    install("Hello")
    found = [step.__name__ for step in every_step([Added])]
    assert found.index("LimitsStep") < found.index("Hello") < found.index("Added")


@pytest.mark.parametrize("name", ["Duck", "make"])
def test_a_wrong_step_of_a_package_is_refused_by_the_name_of_its_entry_point(install, name):
    install(name)
    with pytest.raises(ConfigError, match=rf"worker step 'offered_{name}': .* is not a subclass of .*\.base\.Step"):
        every_step([])


@pytest.mark.parametrize("wrong", [Other, Added("no class")])
def test_a_wrong_step_of_an_app_is_refused(wrong):
    with pytest.raises(ConfigError, match=r"app\.steps: .* is not a subclass of amqtask\.worker\.steps\.base\.Step"):
        every_step([Added, wrong])
