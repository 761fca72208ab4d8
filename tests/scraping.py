"""A page of metrics as Prometheus gets it: over HTTP, read by the library's own parser."""

from __future__ import annotations

import urllib.request

from prometheus_client.parser import text_string_to_metric_families

Page = dict[str, dict[tuple[str, ...], float]]
"""Name of a sample -> values of its labels, in the order of the labels' names -> its value."""


def scrape(port: int) -> Page:
    """The page of the worker that answers there."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = answer.read().decode()
    found: Page = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found
