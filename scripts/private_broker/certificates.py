"""Test certificates for a node that listens with TLS."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from private_broker.install import install

if TYPE_CHECKING:
    from pathlib import Path


def make_certificates(folder: Path) -> None:
    """A test CA with a server certificate (localhost, 127.0.0.1) and a client certificate (guest)."""
    if (folder / "client.pem").exists():
        return
    if not shutil.which("openssl"):
        install("openssl")
    folder.mkdir(parents=True, exist_ok=True)

    def openssl(*args: str) -> None:
        subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)

    authority = "-subj|/CN=amqtask test CA|-addext|basicConstraints=critical,CA:TRUE"
    authority += "|-addext|keyUsage=critical,keyCertSign,cRLSign|-keyout|ca.key|-out|ca.pem"
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", *authority.split("|"))
    for who, name in (("server", "localhost"), ("client", "guest")):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
                "-keyout", f"{who}.key", "-out", f"{who}.csr")  # fmt: skip
        names = "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n"
        (folder / f"{who}.ext").write_text(names)
        openssl("x509", "-req", "-in", f"{who}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "3650", "-extfile", f"{who}.ext", "-out", f"{who}.pem")  # fmt: skip
    for path in folder.iterdir():
        path.chmod(0o644)  # test keys: the broker's account has to read them
