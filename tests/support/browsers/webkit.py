"""WebKitGTK by WebDriver, whose driver Debian has (webkit2gtk-driver); on a display that nobody sees (xvfb)."""

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.support.serving.servers import free_port
from tests.support.waiting import until

DRIVER, DISPLAY = shutil.which("WebKitWebDriver"), shutil.which("xvfb-run")
needs_webkit = pytest.mark.skipif(DRIVER is None or DISPLAY is None, reason="needs webkit2gtk-driver and xvfb")
ANSWER_S = 60
ERRORS = """window.seen = []; addEventListener("error", (event) => seen.push(event.message));
addEventListener("unhandledrejection", (event) => seen.push(String(event.reason)));"""


class Tab:
    """A tab; `errors` are what went wrong in its scripts."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._session = self._call("POST", "/session", {"capabilities": {}})["sessionId"]
        self._call("POST", f"/session/{self._session}/timeouts", {"script": ANSWER_S * 1000})

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """A command's value; fails the test where it is refused."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_S)
        connection.request(method, path, json.dumps(body) if body is not None else None)
        answer = connection.getresponse()
        value = json.loads(answer.read())["value"]
        connection.close()
        assert answer.status == 200, value
        return value

    @property
    def errors(self) -> list[str]:
        return self.run("seen")

    def visit(self, url: str) -> None:
        self._call("POST", f"/session/{self._session}/url", {"url": url})
        self.run(f"void (() => {{ {ERRORS} }})()")

    def run(self, script: str) -> Any:
        """The value of an expression, awaited."""
        waited = f"const done = arguments[0]; Promise.resolve({script}).then(done, (error) => done(String(error)));"
        return self._call("POST", f"/session/{self._session}/execute/async", {"script": waited, "args": []})

    def until(self, script: str, what: str) -> None:
        until(lambda: self.run(script), what)

    def close(self) -> None:
        self._call("DELETE", f"/session/{self._session}")


@contextmanager
def webkit(profile: Path) -> Iterator[Tab]:
    """One in a session of its own, at home in this folder."""
    assert DRIVER is not None
    assert DISPLAY is not None
    port = free_port()
    command = [DISPLAY, "--auto-servernum", DRIVER, f"--port={port}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": {**os.environ, "HOME": str(profile)}}
    running = subprocess.Popen(command, start_new_session=True, **quiet)
    try:
        until(lambda: _listens(port), "WebKitWebDriver listens")
        tab = Tab(port)
        yield tab
        tab.close()
    finally:
        os.killpg(running.pid, signal.SIGTERM)  # the driver, and the display that it was started with
        running.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
