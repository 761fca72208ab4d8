"""Ports to listen on. Owns the question whether one is free, and AMQP's own."""

from __future__ import annotations

import socket

AMQP_PORT = 5672
"""Where programs look for a broker when nobody tells them one."""


def is_free(host: str, port: int) -> bool:
    """Could a server listen there now?"""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((host, port))
        except OSError:
            return False
    return True
