"""The core of the page in Firefox and WebKit: recordings by themselves and by choice, a camera, pictures, a drawing.

Firefox speaks WebDriver BiDi itself; WebKitGTK's driver (webkit2gtk-driver) runs on a display that nobody sees (xvfb).
"""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from spikesight.app.standalone import write_folder
from spikesight.models.checkpoint import load
from spikesight.models.shipped import find
from tests.support.serving.servers import free_port
from tests.support.serving.static import static
from tests.support.waiting import PATIENCE_S, until

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
DRIVER, DISPLAY = shutil.which("WebKitWebDriver"), shutil.which("xvfb-run")


@dataclass
class Tab:
    """A page that is open."""

    run: Callable[[str], Any]
    """The value of an expression in it, awaited."""
    load: Callable[[str], Any]
    """Run a script in it."""
    resize: Callable[[int], Any]
    """So many pixels wide."""


@contextmanager
def firefox(profile: Path, url: str) -> Iterator[Tab]:
    """A headless one at this address, with an empty profile and a camera of moving colours."""
    names = ("media.navigator.streams.fake", "media.navigator.permission.disabled")
    (profile / "user.js").write_text("".join(f'user_pref("{name}", true);\n' for name in names))
    command = [str(FIREFOX), "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as running:
        try:
            found = (re.search(r"WebDriver BiDi listening on (ws://\S+)", line) for line in running.stderr or ())
            with connect(next(filter(None, found))[1] + "/session", max_size=None) as socket:
                numbers = count()

                def call(method: str, **parameters: Any) -> Any:
                    number = next(numbers)
                    socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
                    while (message := json.loads(socket.recv(timeout=PATIENCE_S))).get("id") != number:
                        pass
                    assert message["type"] == "success", message
                    return message["result"]

                def run(script: str) -> Any:
                    done = call("script.evaluate", expression=script, target={"context": tab}, awaitPromise=True)
                    assert done["type"] == "success", done
                    return done["result"].get("value")

                call("session.new", capabilities={})
                tab = call("browsingContext.getTree")["contexts"][0]["context"]
                call("browsingContext.navigate", context=tab, url=url, wait="complete")
                yield Tab(
                    run,
                    lambda script: call(
                        "script.evaluate", expression=script, target={"context": tab}, awaitPromise=False
                    ),
                    lambda width: call(
                        "browsingContext.setViewport", context=tab, viewport={"width": width, "height": 900}
                    ),
                )
        finally:
            running.terminate()


@contextmanager
def webkit(home: Path, url: str) -> Iterator[Tab]:
    """One at this address, in a session of its own, at home in this folder."""
    port = free_port()
    command = [str(DISPLAY), "--auto-servernum", str(DRIVER), f"--port={port}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": {**os.environ, "HOME": str(home)}}
    running = subprocess.Popen(command, start_new_session=True, **quiet)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S, trust_env=False) as driver:

            def call(path: str, **body: Any) -> Any:
                return driver.post(path, json=body).raise_for_status().json()["value"]

            def listens() -> bool:
                try:
                    return driver.get("/status").is_success
                except httpx.ConnectError:
                    return False

            def run(script: str) -> Any:
                waited = f"const done = arguments[0]; Promise.resolve({script}).then(done, (e) => done(String(e)));"
                return call(f"{session}/execute/async", script=waited, args=[])

            until(listens, "WebKitWebDriver listens")
            session = f"/session/{call('/session', capabilities={})['sessionId']}"
            call(f"{session}/timeouts", script=PATIENCE_S * 1000)
            call(f"{session}/url", url=url)
            yield Tab(
                run,
                lambda script: call(f"{session}/execute/sync", script=script, args=[]),
                lambda width: call(f"{session}/window/rect", width=width, height=900),
            )
            driver.delete(session)
    finally:
        os.killpg(running.pid, signal.SIGTERM)  # the driver, and the display that it was started with
        running.wait()


ERRORS = """void (() => { window.errors = []; addEventListener("error", (event) => errors.push(event.message));
  addEventListener("unhandledrejection", (event) => errors.push(String(event.reason))); })()"""
DROP_A_THREE = """(async () => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 160, height: 160 });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, 160, 160);
  context.fillStyle = "#222";
  context.font = "bold 130px sans-serif";
  context.fillText("3", 45, 125);
  const blob = await new Promise((done) => canvas.toBlob(done)), dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([blob], "three.png", { type: "image/png" }));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
})()"""


others = pytest.mark.parametrize(
    "browser",
    [
        pytest.param(firefox, marks=pytest.mark.skipif(not FIREFOX, reason="needs firefox-esr"), id="firefox"),
        pytest.param(
            webkit,
            marks=pytest.mark.skipif(not (DRIVER and DISPLAY), reason="needs webkit2gtk-driver and xvfb"),
            id="webkit",
        ),
    ],
)
Opened = Callable[[Path, str], AbstractContextManager[Tab]]


class Hands:
    """What a person does in a page, and waits for."""

    def __init__(self, tab: Tab) -> None:
        self.run = tab.run
        self.run(ERRORS)

    def wait(self, true: str) -> None:
        until(lambda: self.run(true), true)

    def click(self, selector: str) -> None:
        self.run(f"void document.querySelector({selector!r}).click()")

    def no_errors(self) -> bool:
        return json.loads(self.run("JSON.stringify(errors)")) == []


def says(label: str) -> str:
    return f"document.querySelector('#label').textContent === '{label}'"


@others
def test_the_page(browser: Opened, service: str, packages: Path, tmp_path: Path) -> None:
    """Recordings, a camera, a picture, a drawing; at 200 % and on a telephone all fits, and axe finds nothing."""
    with browser(tmp_path, service) as tab:
        hands = Hands(tab)
        wait, click = hands.wait, hands.click
        wait(says("0"))
        wait("document.querySelectorAll('#samples canvas').length > 1")
        click("[aria-label='Play the recording digit 3']")
        wait(says("3"))
        click("#stop")
        if browser is firefox:  # WebKit's driver offers no false camera
            click("#start")
            wait("document.body.dataset.source === 'camera'")
            wait("parseInt(document.querySelector('[data-meter=rate]').textContent) > 0")
            click("#stop")
        tab.run(DROP_A_THREE)
        wait(says("3") + " && !document.querySelector('#train-controls').hidden")
        click("#stop")
        click("#draw")
        click("[aria-label='Write a 7']")
        wait(says("7"))
        tab.load((packages / "axe-core" / "axe.min.js").read_text())
        for width in (683, 390) if browser is firefox else (683,):  # 1366 at 200 %; WebKit's windows are never narrow
            tab.resize(width)
            wait(f"innerWidth <= {width}")
            assert tab.run(f"document.documentElement.scrollWidth <= {width}")
            assert tab.run("axe.run().then((found) => found.violations.map(({ id }) => id).join())") == ""
        assert hands.no_errors()


@others
def test_the_page_without_a_server(browser: Opened, tmp_path: Path) -> None:
    """A recording is read, and a 3 that is held before the emulated camera."""
    write_folder(tmp_path / "site", *load(find("nmnist")), "nmnist")
    (tmp_path / "home").mkdir()
    with static(tmp_path / "site") as origin, browser(tmp_path / "home", f"{origin}/") as tab:
        hands = Hands(tab)
        hands.wait("!document.querySelector('#start').disabled")
        hands.click("[aria-label='Play the recording digit 7']")
        hands.wait(says("7"))
        hands.click("#stop")
        tab.run(DROP_A_THREE)
        hands.wait(says("3"))
        assert hands.no_errors()
