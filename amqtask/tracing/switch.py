"""Whether an app is traced: the setting ``tracing``. Owns that decision; loads nothing where it is no."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amqtask.config.settings import Settings
    from amqtask.tasks.middleware import Middlewares

logger = logging.getLogger(__name__)

_API = "opentelemetry.trace"


def start_tracing(settings: Settings, middleware: Middlewares, tasks: Mapping[str, Any]) -> None:
    """Add tracing to the middleware of an app, if its setting says so and it has none; to be asked again at any time.

    Args:
        settings: of the app.
        middleware: of the app; gets one more.
        tasks: of the app, by name.

    Raises:
        ConfigError: it is asked for (``on``), and OpenTelemetry is not installed, or does not work. Where nobody has
            asked for it, that is logged.
    """
    try:
        if settings.tracing == "off" or (settings.tracing == "auto" and not _has_provider()):
            return
        from amqtask.tracing.spans import Tracing  # noqa: PLC0415 -- only where it is wanted

        if not any(isinstance(one, Tracing) for one in middleware):
            middleware.add(Tracing(tasks))
    except Exception as error:
        if settings.tracing != "on":
            logger.exception("there are no traces, for OpenTelemetry does not work here")
        elif isinstance(error, ConfigError):
            raise
        else:
            raise ConfigError(f"setting tracing: OpenTelemetry does not work here: {error!r}") from error


def _has_provider() -> bool:
    """Whether this program has configured OpenTelemetry; just having it imported, as other packages do, is not that."""
    trace = sys.modules.get(_API)
    return trace is not None and not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
