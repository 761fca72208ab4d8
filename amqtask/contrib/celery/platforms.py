"""``celery.platforms``: what programs set there. Nothing of it matters here: a worker may run as any user."""

from __future__ import annotations

C_FORCE_ROOT = False
"""Celery's permission to run as root with pickle; amqtask asks for signed messages instead, whoever runs it."""
