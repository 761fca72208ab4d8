"""Servers in threads of the test's process, for stores that no test machine can have. Owns connections and restarts."""

from __future__ import annotations

import contextlib
import socket
import threading

from private_broker.processes import HOST, free_ports


class StubServer:
    """Accepts connections and serves each in a thread; its data survive ``stop`` and ``start``."""

    def __init__(self):
        self.port = free_ports(1)[0]
        self.lock = threading.RLock()
        self._listener = None
        self._connections = set()
        self.start()

    @property
    def address(self):
        return f"{HOST}:{self.port}"

    def serve(self, connection):
        """Talk with one client until it goes."""
        raise NotImplementedError

    def start(self):
        self._listener = socket.create_server((HOST, self.port), backlog=100)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self):
        listener, self._listener = self._listener, None
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        with self.lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.serve(connection)
        except (OSError, EOFError):
            pass
        finally:
            with self.lock:
                self._connections.discard(connection)
            connection.close()


def read_exactly(connection, count):
    """That many bytes."""
    received = bytearray()
    while len(received) < count:
        piece = connection.recv(min(count - len(received), 1 << 20))
        if not piece:
            raise EOFError
        received += piece
    return bytes(received)
