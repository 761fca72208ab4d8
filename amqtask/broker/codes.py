"""AMQP's reply codes that are told apart here. Owns their names; 0 stands for a connection that went without a code."""

from __future__ import annotations

REPLY_SUCCESS = 200

FIRST_ERROR = 300
"""The lowest code that says that something was wrong."""

ACCESS_REFUSED = 403
NOT_FOUND = 404
RESOURCE_LOCKED = 405
PRECONDITION_FAILED = 406
COMMAND_INVALID = 503
NOT_ALLOWED = 530
