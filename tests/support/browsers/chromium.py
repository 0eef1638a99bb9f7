"""What the tests of the page share: the service, videos for a fake camera, and a visit to the page that hears all.

Needs a Chromium on the path (or SPIKESIGHT_CHROMIUM) and the playwright package; its users skip where there is none.
"""

from __future__ import annotations  # playwright's names are there for the types alone

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import uvicorn

from spikesight.app.commands.serve import listen
from spikesight.encoders.emulator.pixels import Emulator
from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import write_recording
from spikesight.encoders.sources import samples
from spikesight.models.classifier import Classifier
from spikesight.models.shipped import shipped
from spikesight.service.api import create_app
from spikesight.service.settings import Settings
from tests.support.processes import ROOT
from tests.support.serving.servers import PATIENT
from tests.support.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Page, WebSocket

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("SPIKESIGHT_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium found: install it, or set SPIKESIGHT_CHROMIUM"
)

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FAKE_CAMERA = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]


@dataclass
class Served:
    """A running `spikesight serve`."""

    process: subprocess.Popen[str]
    url: str
    drain: threading.Thread

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=PATIENCE_S)
            self.drain.join()
            assert self.process.stdout is not None
            self.process.stdout.close()


def serve(model: str, *flags: str, port: int = 0, **variables: str) -> Served:
    """Start the service as people do; its address is what it prints."""
    command = [sys.executable, "-m", "spikesight", "serve", "--model", model, "--port", str(port), *flags]
    patient = {"SPIKESIGHT_DEADLINE_S": "60"}  # a busy machine may take long to warm its decoder processes
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=os.environ | patient | variables,
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if match := re.search(r"http://127\.0\.0\.1:(\d+)", line):
            url = f"http://localhost:{match.group(1)}/"
            break
    else:
        raise AssertionError("".join(lines))
    drain = threading.Thread(target=process.stdout.read)  # a full pipe would stop the service
    drain.start()
    return Served(process, url, drain)


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


def filmed_digit(path: Path) -> Path:
    """The same as a recording of an event camera of 320 x 240 pixels, for a second and a half."""
    camera, parts = Emulator(SensorSize(320, 240)), []
    for n in range(45):
        grey = cv2.cvtColor(digit_on_paper(2 * np.pi * n / 45), cv2.COLOR_RGB2GRAY)
        parts.append(camera.push(np.asarray(cv2.resize(grey, (320, 240)), np.uint8), round((n + 1) * 1e6 / 30)))
    write_recording(path, np.concatenate(parts), camera.size)
    return path


@dataclass
class Visit:
    """A page, and all that it said and heard."""

    page: Page
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    heard: list[tuple[float, dict]] = field(default_factory=list)  # (seconds, text message)
    pictures: int = 0
    sockets: list[WebSocket] = field(default_factory=list)
    heeded: int = 0  # sockets before this one are not heard

    def watch(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2].split(":")[0]))
        self.page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        number = len(self.sockets)
        self.sockets.append(socket)

        def hear(payload: str | bytes) -> None:
            if number >= self.heeded:
                self._hear(payload)

        socket.on("framereceived", hear)

    def forget(self) -> None:
        """What was heard so far, and whatever comes yet of its streams."""
        self.heeded, self.pictures = len(self.sockets), 0
        self.heard.clear()

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def _hear(self, payload: str | bytes) -> None:
        if isinstance(payload, bytes):
            self.pictures += 1
        else:
            self.heard.append((time.monotonic(), json.loads(payload)))

    def of(self, kind: str) -> list[dict]:
        return [message for _, message in self.heard if message["type"] == kind]

    def finished(self, seconds: float = 0) -> None:
        """Let the page go on, and the events of the driver come in."""
        self.page.wait_for_timeout(seconds * 1000)

    def until(self, true: Callable[[], object], what: str) -> None:
        def check() -> object:
            self.finished(0.04)
            return true()

        try:
            until(check, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; the page says: {self.notice()!r} {self.errors}") from None

    def hears_nothing(self) -> bool:
        """No message came for half a second."""
        count = len(self.heard)
        self.finished(0.5)
        return len(self.heard) == count

    def value(self, name: str) -> str:
        return self.page.locator(f"[data-meter={name}]").inner_text()

    def click(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def looked_at(self, canvas: str) -> tuple[float, float, float] | None:
        """The middle and the side of the window that is drawn over a canvas, in its pixels; None where none is."""
        return self.page.evaluate(
            """(id) => {
              const canvas = document.getElementById(id);
              const outline = canvas.parentElement.querySelector(".roi:not([hidden])");
              if (!outline) return null;
              const box = outline.getBoundingClientRect(), all = canvas.getBoundingClientRect();
              const scale = Math.min(all.width / canvas.width, all.height / canvas.height);
              const at = (from, side, middle, length) => (from + side / 2 - middle - length / 2) / scale;
              return [canvas.width / 2 + at(box.left, box.width, all.left, all.width),
                      canvas.height / 2 + at(box.top, box.height, all.top, all.height), box.width / scale];
            }""",
            canvas,
        )

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


def opened(context: BrowserContext, url: str) -> Visit:
    seen = Visit(context.new_page())
    seen.watch()
    seen.page.goto(url)
    return seen


def has_models(seen: Visit) -> Visit:
    """The page has its models, and the recording that plays by itself was stopped."""
    seen.until(lambda: seen.page.locator("#samples button").count(), "the page has its models and recordings")
    if not seen.page.evaluate("matchMedia('(prefers-reduced-motion: reduce)').matches"):
        seen.until(lambda: seen.page.locator("#stop").is_visible(), "a recording plays by itself")
        seen.click("Stop")
        seen.forget()
    return seen


def drop(seen: Visit, path: Path, kind: str) -> None:
    """Drop a file on the page as a person does."""
    transfer = seen.page.evaluate_handle(
        """([bytes, name, type]) => { const transfer = new DataTransfer();
           const raw = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0));
           transfer.items.add(new File([raw], name, { type })); return transfer; }""",
        [base64.b64encode(path.read_bytes()).decode(), path.name, kind],
    )
    for event in ("dragenter", "dragover", "drop"):
        seen.page.dispatch_event("body", event, {"dataTransfer": transfer})


class Nearby:
    """The service in a thread of this process: quick to stop and to start anew on its port."""

    def __init__(self, *models: str, port: int = 0, **settings: object) -> None:
        classifiers = tuple(Classifier.load(shipped().get(name, Path(name))) for name in models)
        app = create_app(Settings(**{**PATIENT, **settings}), classifiers)  # type: ignore[arg-type]
        self.socket = listen("127.0.0.1", port)
        self.port = self.socket.getsockname()[1]
        self.url = f"http://localhost:{self.port}/"
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=2))
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],))
        self.thread.start()
        until(lambda: self.server.started, "the service starts")

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.socket.close()


def nmnist_file(path: Path, name: str) -> Path:
    """A shipped sample as an N-MNIST file: five bytes an event."""
    raw = np.frombuffer(samples.t64_of(name), [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "u1")])
    t = raw["t"].astype(np.int64)
    columns = [raw["x"], raw["y"], raw["on"].astype(np.int64) << 7 | t >> 16, t >> 8 & 255, t & 255]
    path.write_bytes(np.stack(columns, 1).astype(np.uint8).tobytes())
    return path


def violations(seen: Visit) -> list[str]:
    found = seen.page.evaluate("axe.run().then(({ violations }) => violations)")
    return [f"{v['id']}: {v['help']}: {[node['html'][:120] for node in v['nodes']]}" for v in found]
