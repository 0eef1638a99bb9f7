"""A certificate of this machine, as a house with an authority of its own has."""

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Certificate:
    """PEM files, good for localhost and 127.0.0.1, and signed by nobody else."""

    certificate: Path
    key: Path

    @classmethod
    def made(cls, folder: Path) -> "Certificate":
        """A new one; skips where there is no openssl."""
        if shutil.which("openssl") is None:
            pytest.skip("needs openssl to make a certificate")
        made = cls(folder / "local.pem", folder / "local.key")
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        files = ["-keyout", str(made.key), "-out", str(made.certificate)]
        subprocess.run([*command, *names, *files], check=True, capture_output=True)
        return made

    def context(self) -> ssl.SSLContext:
        """A server's side."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context
