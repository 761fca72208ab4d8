"""TLS for broker connections: URL and options to an ``ssl.SSLContext``.

Owns certificates and verification; both pika and aio-pika are handed the context.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from amqtask.errors import ConfigError

if TYPE_CHECKING:
    import socket
    from typing import Self

    from amqtask.broker.interface import ConnectionOptions
    from amqtask.broker.url import BrokerURL


def tls_context(url: BrokerURL, options: ConnectionOptions) -> ssl.SSLContext | None:
    """The context for a URL; None when it is amqp://. What the URL says wins over the options.

    Raises:
        ConfigError: a file that can't be read or is no certificate; names it.
    """
    if not url.tls:
        return None
    ca_file = url.ca_file or options.ca_file
    cert_file = url.cert_file or options.cert_file
    key_file = url.key_file or options.key_file
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"CA file {ca_file!r} for {url.where}: {_reason(error)}") from None
    if not (options.verify if url.verify is None else url.verify):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert_file:
        try:
            context.load_cert_chain(cert_file, key_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"client certificate {cert_file!r} with key {key_file or cert_file!r}: {_reason(error)}"
            ) from None
    return context


def remember_sockets(context: ssl.SSLContext, sockets: list[socket.socket]) -> None:
    """Add every socket that this context wraps to a list.

    Python drops the wrapped socket, open, when the other side resets the connection before the handshake: nobody else
    could close it then.
    """

    class Remembered(ssl.SSLSocket):
        def __new__(cls, *args: Any, **kwargs: Any) -> Self:
            made = super().__new__(cls, *args, **kwargs)
            sockets.append(made)
            return made

    context.sslsocket_class = Remembered


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
