"""Real servers: in a thread on a free port, or in a process of their own."""

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryFile

import pytest
from starlette.applications import Starlette

from spikesight.models.classifier import Classifier
from spikesight.service.api import create_app
from spikesight.service.client import Client
from spikesight.service.http.server import Server, server
from spikesight.service.settings import Settings
from tests.support.models import tiny
from tests.support.waiting import PATIENCE_S, until

START_S = 180  # native kernels may have to be compiled first


PATIENT = {"max_batch": 8, "deadline_s": 60.0}  # a busy machine may take long to warm its decoder processes


def limited(**changes: object) -> Settings:
    """Settings with these changes, which may also name a constant of the class."""
    constants = {name: changes.pop(name) for name in list(changes) if name not in Settings.model_fields}
    assert constants.keys() <= Settings.__class_vars__, constants
    kind = type("Limited", (Settings,), {"__module__": __name__, **constants})
    return kind(**{**PATIENT, **changes})


def settings(**changes: object) -> Settings:
    """Settings for a test client, whose Host is `testserver`."""
    return limited(**{"allowed_hosts": ("testserver",), **changes})


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(
    app: Starlette | None = None, classifiers: tuple[Classifier, ...] = (), *, port: int = 0, **changes: object
) -> Iterator[int]:
    """A real server in a thread, on a free port or this one; its port."""
    wanted = limited(**changes)
    app = app or create_app(wanted, classifiers or (tiny(),))
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
    listening.bind(("127.0.0.1", port))
    served: Server = server(app, wanted)
    thread = threading.Thread(target=served.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    until(lambda: served.started or not thread.is_alive(), "the server did not start", START_S)
    assert served.started, "the server ended as it started"
    try:
        yield listening.getsockname()[1]
    finally:
        served.should_exit = True
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "the server did not stop"


START = [sys.executable, "-m", "spikesight", "serve"]


class Served(AbstractContextManager["Served"]):
    """A service in a process of its own, which ends with the `with` at the latest."""

    def __init__(self, *flags: str, **environment: str) -> None:
        self._errors = TemporaryFile("w+")  # noqa: SIM115 - it lives as long as the service
        self.process = subprocess.Popen(
            [*START, "--port", "0", *flags],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "SPIKESIGHT_DEADLINE_S": "60", **environment},
        )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        found = re.search(r"http://\S+", self.line)
        assert found, self.finish()
        self.url = found.group()
        self.client = Client(self.url, environment.get("SPIKESIGHT_TOKEN"))

    def log(self) -> str:
        """What it has logged so far."""
        file = self._errors.fileno()  # where the service writes: its place in the file must stay
        return os.pread(file, os.fstat(file).st_size, 0).decode()

    def finish(self) -> str:
        """Wait for the end; everything it logged."""
        self.process.communicate(timeout=PATIENCE_S)
        if not self._errors.closed:
            self._logged = self.log()
            self._errors.close()
        return self._logged

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.finish()

    def children(self) -> list[str]:
        """Process ids of its children; empty where there is no /proc."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [child for task in tasks for child in task.read_text().split()]


def resident() -> int:
    """Resident bytes of this process, which holds the server."""
    pages = Path("/proc/self/statm")
    if not pages.exists():
        pytest.skip("no /proc: memory is not measured here")
    return int(pages.read_text().split()[1]) * 4096
