"""The reference page of the settings, made from their declarations.

Run ``python -m amqtask.config.reference > docs/reference/settings.md`` after a change.
"""

from __future__ import annotations

import sys

from amqtask.config.settings import NAMES, default_of, doc_of, kind_of
from amqtask.config.showing import show
from amqtask.config.sources import PREFIX

_HEAD = """\
# Settings

Set in code (`Amqtask("shop", task_serializer="json")` or `app.conf.task_serializer = "json"`), in
a configuration module (`app.config_from_object("shop.config")`), in the environment (the name in capitals after
`{prefix}`, for example `{prefix}BROKER_URL`) or, where there is an option for it, on the command line. The command
line wins over code, code over configuration modules, these over the environment, and that over the default;
`include` and `imports` add up. In the environment lists are separated by commas; durations are seconds or texts
such as `250ms`, `5s`, `1h30m`. An unknown setting and a value that does not fit are errors; an environment variable
that is not a setting is only warned of, where it resembles one (Kubernetes sets such variables by itself).
`amqtask report` shows every value and where it came from.

`task_queues` and `task_routes` are shown in [Write and send tasks](../how-to/tasks.md#where-it-goes),
`task_annotations` in [Configure an app](../how-to/configure.md#options-of-tasks-from-the-settings), `broker_use_ssl`
and the parameters of broker URLs in [Running workers](../how-to/run-workers.md#before-production).

Celery's names and values are understood everywhere, old ones in capitals included; see
[Configure an app](../how-to/configure.md).

This page is made by `python -m amqtask.config.reference`.

| setting | kind | default | meaning |
|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    rows = [f"| `{name}` | {kind_of(name).name} | {_default(name)} | {doc_of(name)} |" for name in NAMES]
    return _HEAD.format(prefix=PREFIX) + "\n".join(rows) + "\n"


def _default(name: str) -> str:
    value = default_of(name)
    # the page is public: a default URL with the well-known guest login may be shown
    return f"`{', '.join(value)}`" if name == "broker_url" else f"`{show(value)}`"


if __name__ == "__main__":
    sys.stdout.write(page())
