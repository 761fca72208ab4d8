"""Names of OpenTelemetry's conventions for messaging, of the one version that is written. Owns these, and ours.

They are in development there, and change from version to version; whoever reads traces must not find them changed by an
update of a package, so they stand here and are not imported.
"""

from __future__ import annotations

from typing import Final

SCHEMA: Final = "https://opentelemetry.io/schemas/1.44.0"

SYSTEM: Final = "messaging.system"
RABBITMQ: Final = "rabbitmq"
OPERATION: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
CREATE: Final = "create"
SEND: Final = "send"
PROCESS: Final = "process"
DESTINATION: Final = "messaging.destination.name"
ROUTING_KEY: Final = "messaging.rabbitmq.destination.routing_key"
DEFAULT_DESTINATION: Final = "amq.default"
MESSAGE_ID: Final = "messaging.message.id"
BATCH_COUNT: Final = "messaging.batch.message_count"
ERROR_TYPE: Final = "error.type"
EXCEPTION: Final = "exception"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
STACK_TRACE: Final = "exception.stacktrace"

TASK: Final = "amqtask.task"
TASK_ID: Final = "amqtask.task_id"
ROOT_ID: Final = "amqtask.root_id"
QUEUE: Final = "amqtask.queue"
RETRIES: Final = "amqtask.retries"
STATE: Final = "amqtask.state"
WORKER: Final = "amqtask.worker"
"""What the conventions have no name for."""

PREVIOUS: Final = "x-amqtask-previous-attempt"
"""Header of a next attempt: ``traceparent`` of the one before, which it is linked to."""
