"""routing.yaml to a topology. Owns the file: reading it, and reporting all that is wrong with it at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from amqtask.errors import DocumentError, Problem
from amqtask.topology.build import build
from amqtask.topology.checks import check
from amqtask.topology.model import DEFAULT_QUEUE, opened
from amqtask.topology.nodes import Report, parse
from amqtask.topology.schema import DOCUMENT

if TYPE_CHECKING:
    import os

    from amqtask.topology.model import Topology


def load(path: str | os.PathLike[str], default_queue: str = DEFAULT_QUEUE, *, celery: bool = False) -> Topology:
    """Read a routing file.

    Args:
        path: of the file; its name as given is what messages carry.
        default_queue: name of the queue for tasks that no route matches.
        celery: it is for a member of a Celery deployment, see :func:`amqtask.topology.model.opened`.

    Raises:
        DocumentError: the file can't be read, or can't be used; carries every problem found.
    """
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise DocumentError([Problem(str(path), f"can't read it: {error.strerror or error}")]) from None
    return loads(text, str(path), default_queue, celery=celery)


def loads(
    text: str | bytes, name: str = "routing.yaml", default_queue: str = DEFAULT_QUEUE, *, celery: bool = False
) -> Topology:
    """Read a routing document.

    Args:
        text: YAML, UTF-8 when it is bytes.
        name: for messages: ``name:line:column``.
        default_queue: name of the queue for tasks that no route matches.
        celery: as in :func:`load`.

    Raises:
        DocumentError: with every problem found, in the order of the file.
    """
    report = Report(name)
    values = DOCUMENT.read(parse(text, report), report)
    report.raise_problems()
    topology = build(values, name, default_queue)
    if celery:
        topology = opened(topology)
    if problems := check(topology):
        raise DocumentError(problems)
    return topology
