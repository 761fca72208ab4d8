"""What a private node's configuration files say."""

from __future__ import annotations

from private_broker.processes import HOST


def rabbitmq_conf(ports: list[int], plugins: list[str], tls: str, tls_folder: str) -> str:
    """Text of rabbitmq.conf.

    Args:
        ports: AMQP, distribution, epmd, management, AMQP with TLS.
        plugins: those the node has enabled.
        tls: "", "tls", or "mtls" for TLS that demands a client certificate.
        tls_folder: of the certificates, as the node sees it.
    """
    amqp, _, _, management, secure = ports
    lines = [
        f"listeners.tcp.1 = {HOST}:{amqp}",
        "disk_free_limit.absolute = 50MB",
        "vm_memory_high_watermark.relative = 0.4",
        "log.file.level = info",
        "log.console = false",
    ]
    if "rabbitmq_management" in plugins:
        lines += [f"management.tcp.ip = {HOST}", f"management.tcp.port = {management}"]
    if tls:
        lines += [
            f"listeners.ssl.1 = {HOST}:{secure}",
            f"ssl_options.cacertfile = {tls_folder}/ca.pem",
            f"ssl_options.certfile = {tls_folder}/server.pem",
            f"ssl_options.keyfile = {tls_folder}/server.key",
            "ssl_options.verify = verify_peer",
            f"ssl_options.fail_if_no_peer_cert = {str(tls == 'mtls').lower()}",
        ]
    if tls == "mtls":
        lines += [f"auth_mechanisms.{i} = {m}" for i, m in enumerate(("EXTERNAL", "PLAIN", "AMQPLAIN"), 1)]
        lines.append("ssl_cert_login_from = common_name")
    return "\n".join(lines) + "\n"


def enabled_plugins(plugins: list[str], tls: str) -> str:
    """Text of the file enabled_plugins."""
    more = ["rabbitmq_auth_mechanism_ssl"] if tls == "mtls" else []
    return f"[{','.join([*plugins, *more])}].\n"
