"""The page in a real browser: a fake camera, a dropped file, a shipped recording, and what goes wrong.

Needs a Chromium on the path (or SPIKESIGHT_CHROMIUM) and the playwright package; skips where there is none. Rates are
printed, never asserted.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models.checkpoint import Card, Contract, save
from models.resnet import ResNetConfig, SpikingResNet
from service.registry import shipped

pytest.importorskip("playwright", reason="playwright is not installed: pip install 'spikesight[dev]'")
from playwright.sync_api import BrowserContext, Page, Playwright, WebSocket, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("SPIKESIGHT_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found: install it, or set SPIKESIGHT_CHROMIUM")

QUIET = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
FAKE_CAMERA = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
PATIENCE_S = 30


def until(true: Callable[[], object], what: str, seconds: float = PATIENCE_S) -> None:
    """Poll; the page's own policy forbids waiting inside it."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited {seconds} s: {what}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The first shipped model, else a small one with random weights."""
    if shipped():
        return next(iter(shipped()))
    torch.manual_seed(0)
    network = SpikingResNet(ResNetConfig("ms", (1, 1), (8, 16), pool="max"))
    with torch.no_grad():
        for weights in network.parameters():
            weights.mul_(3)  # so that all layers spike
    contract = Contract("events", 2, 34, 34, 30, "binary", 34, 34, 10_000, still="digit")
    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    save(folder, network, Card(contract, tuple("0123456789")))
    return str(folder)


@dataclass
class Served:
    """A running `spikesight serve`."""

    process: subprocess.Popen[str]
    url: str

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.communicate(timeout=20)


def serve(model: str, *flags: str, port: int = 0) -> Served:
    """Start the service as people do; its address is what it prints."""
    command = [sys.executable, "-m", "app.cli", "serve", "--model", model, "--port", str(port), *flags]
    root = Path(__file__).resolve().parent.parent
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=root)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if match := re.search(r"http://127\.0\.0\.1:(\d+)", line):
            url = f"http://localhost:{match.group(1)}/"
            break
    else:
        raise AssertionError("".join(lines))
    return Served(process, url)


@pytest.fixture(scope="module")
def service(model: str) -> Iterator[Served]:
    served = serve(model)
    yield served
    served.stop()


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


def mjpeg(path: Path, frames: list[np.ndarray]) -> Path:
    """A video for the fake camera: JPEGs one after another, played at 30 a second."""
    path.write_bytes(b"".join(cv2.imencode(".jpg", frame)[1].tobytes() for frame in frames))
    return path


def digit_on_paper(turn: float) -> np.ndarray:
    """A card with a 3 that moves on a small circle; uint8 [480, 640, 3]."""
    frame = np.full((480, 640, 3), (88, 84, 80), np.uint8)
    x, y = round(320 + 40 * np.cos(turn)), round(240 + 30 * np.sin(turn))
    cv2.rectangle(frame, (x - 120, y - 150), (x + 120, y + 150), (225, 228, 230), -1)
    cv2.putText(frame, "3", (x - 82, y + 95), cv2.FONT_HERSHEY_SIMPLEX, 8.5, (40, 36, 34), 30, cv2.LINE_AA)
    return frame


@pytest.fixture(scope="module")
def camera_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = [digit_on_paper(2 * np.pi * n / 45) for n in range(45)]
    return mjpeg(tmp_path_factory.mktemp("camera") / "digit.mjpeg", frames)


@dataclass
class Visit:
    """A page, and all that it said and heard."""

    page: Page
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    heard: list[tuple[float, dict]] = field(default_factory=list)  # (seconds, text message)
    pictures: int = 0

    def watch(self) -> None:
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2].split(":")[0]))
        self.page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framereceived", self._hear)

    def _hear(self, payload: str | bytes) -> None:
        if isinstance(payload, bytes):
            self.pictures += 1
        else:
            self.heard.append((time.monotonic(), json.loads(payload)))

    def of(self, kind: str) -> list[dict]:
        return [message for _, message in self.heard if message["type"] == kind]

    def settle(self, seconds: float = 0) -> None:
        """Let the page go on, and the events of the driver come in."""
        self.page.wait_for_timeout(seconds * 1000)

    def until(self, true: Callable[[], object], what: str) -> None:
        def check() -> object:
            self.settle(0.02)
            return true()

        until(check, what)

    def value(self, name: str) -> str:
        return self.page.locator(f"[data-meter={name}]").inner_text()

    def click(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def notice(self) -> str:
        return self.page.locator("#notice").inner_text()

    def lit(self, canvas: str) -> int:
        """How many distinct colours the canvas shows."""
        return self.page.evaluate(
            """(id) => { const c = document.getElementById(id); const d = c.getContext("2d")
               .getImageData(0, 0, c.width, c.height).data; return new Set(new Uint32Array(d.buffer)).size; }""",
            canvas,
        )


Visitor = Callable[..., Visit]


@pytest.fixture
def visit(playwright: Playwright, tmp_path: Path) -> Iterator[Visitor]:
    """Open the page in a fresh browser with more flags and context options."""
    contexts: list[BrowserContext] = []

    def open_page(url: str, flags: list[str] | None = None, *, goto: bool = True, **options: object) -> Visit:
        context = playwright.chromium.launch_persistent_context(
            tmp_path / f"profile{len(contexts)}",
            executable_path=CHROMIUM,
            headless=True,
            args=[*QUIET, *(flags or [])],
            **options,  # type: ignore[arg-type]
        )
        contexts.append(context)
        seen = Visit(context.pages[0])
        seen.watch()
        if goto:
            seen.page.goto(url)
            seen.until(lambda: seen.page.locator("#model").is_enabled(), "the page has its models")
        return seen

    yield open_page
    for context in contexts:
        context.close()


def test_camera_gives_predictions(service: Served, visit: Visitor, camera_file: Path) -> None:
    seen = visit(service.url, [*FAKE_CAMERA, f"--use-file-for-fake-video-capture={camera_file}"])
    seen.click("Start camera")
    seen.until(lambda: len(seen.of("prediction")) > 20, "twenty predictions")
    begin, count = time.monotonic(), len(seen.heard)
    seen.settle(3)
    frames = {m["seq"] for _, m in seen.heard[count:] if m["type"] in ("prediction", "ack")}
    steps = [m["step_ms"] for m in seen.of("prediction")]
    rate = len(frames) / (time.monotonic() - begin)
    print(f"\nframes acknowledged: {rate:.1f} a second; median step {np.median(steps):.2f} ms")
    assert len(frames) >= 2
    assert sum(m["n_events"] for m in seen.of("prediction")) > 1000
    assert seen.pictures > 0
    assert seen.lit("events") > 20
    assert seen.lit("preview") > 20
    assert seen.lit("raster") > 1
    assert seen.page.locator("#label").inner_text() in seen.of("ready")[0]["labels"]
    assert seen.page.locator("#classes meter").count() == 10
    assert re.search(r"% of an ANN", seen.value("synops"))
    seen.click("Pause")
    seen.settle(0.3)
    count = len(seen.heard)
    seen.settle(0.5)
    assert len(seen.heard) == count, "a paused page sends nothing"
    seen.click("Pause")
    seen.until(lambda: len(seen.heard) > count, "it goes on")
    seen.click("Stop")
    assert seen.page.locator("#start").is_visible()
    assert seen.errors == []
    assert seen.hosts <= {"localhost", ""}, "nothing is fetched from elsewhere"
