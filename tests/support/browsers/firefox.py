"""Firefox by WebDriver BiDi, which it speaks itself: no driver, no browser build of its own."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.support.waiting import until

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
needs_firefox = pytest.mark.skipif(FIREFOX is None, reason="no Firefox found: install firefox-esr")
PREFERENCES = (
    "media.navigator.streams.fake",  # a camera of moving colours
    "media.navigator.permission.disabled",
)
ANSWER_S = 60


class Tab:
    """A tab; `errors` are what its console said of them."""

    def __init__(self, socket: ClientConnection) -> None:
        self.errors: list[str] = []
        self._socket, self._number = socket, 0
        self.call("session.new", capabilities={})
        self.call("session.subscribe", events=["log.entryAdded"])
        self._context = self.call("browsingContext.getTree")["contexts"][0]["context"]

    def call(self, method: str, **parameters: Any) -> Any:
        """A command's result; fails the test where it is refused."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=ANSWER_S))
            if message.get("method") == "log.entryAdded" and message["params"]["level"] == "error":
                self.errors.append(message["params"]["text"])
            if message.get("id") == self._number:
                assert message["type"] == "success", message
                return message["result"]

    def visit(self, url: str) -> None:
        self.call("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def run(self, script: str) -> Any:
        """The value of an expression, awaited."""
        target = {"context": self._context}
        done = self.call("script.evaluate", expression=script, target=target, awaitPromise=True)
        assert done["type"] == "success", done
        return done["result"].get("value")

    def until(self, script: str, what: str) -> None:
        until(lambda: self.run(script), what)


@contextmanager
def firefox(profile: Path) -> Iterator[Tab]:
    """A headless one with an empty profile in this folder."""
    (profile / "user.js").write_text("".join(f'user_pref("{name}", true);\n' for name in PREFERENCES))
    assert FIREFOX is not None
    command = [FIREFOX, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        assert running.stderr is not None
        found = (re.search(r"WebDriver BiDi listening on (ws://\S+)", line) for line in running.stderr)
        address = next(filter(None, found))
        with connect(address.group(1) + "/session", max_size=None) as socket:
            yield Tab(socket)
    finally:
        running.terminate()
        running.wait()
        if running.stderr:
            running.stderr.close()
