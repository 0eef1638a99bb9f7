"""Chromium for the tests of the page: the service that it visits, and a visit that hears and shows all.

Needs a Chromium on the path (or SPIKESIGHT_CHROMIUM) and the playwright package; its users skip where there is none.
"""

from __future__ import annotations  # playwright's names are there for the types alone

import base64
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spikesight.encoders.events import NMNIST_SENSOR
from spikesight.encoders.sources.samples import events_of
from spikesight.models.classifier import Classifier
from spikesight.models.shipped import find
from tests.support.inputs.formats import write
from tests.support.serving.servers import running
from tests.support.waiting import until

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Page, WebSocket

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("SPIKESIGHT_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: install it, or set SPIKESIGHT_CHROMIUM")
QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
FAKE_CAMERA = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
REFUSED = re.compile(r"status of (4|503)|net::ERR_|WebSocket connection|Cross-Origin-Opener")  # said by the browser


@contextmanager
def served(*models: str, **settings: Any) -> Iterator[str]:
    """The service of shipped models; its address."""
    classifiers = tuple(Classifier.load(find(name)) for name in models)
    with running(classifiers=classifiers, **settings) as port:
        yield f"http://localhost:{port}/"


@dataclass
class Visit:
    """A page, and all that it said and heard."""

    page: Page
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    heard: list[dict] = field(default_factory=list)
    pictures: int = 0
    sockets: int = 0
    heeded: int = 0  # sockets before this one are not heard

    @classmethod
    def opened(cls, context: BrowserContext, url: str) -> Visit:
        seen = cls(context.new_page())
        seen.page.on("console", seen._console)
        seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
        seen.page.on("request", lambda request: seen.hosts.add(request.url.split("/")[2].split(":")[0]))
        seen.page.on("websocket", seen._listen)
        seen.page.goto(url)
        return seen

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not REFUSED.search(message.text):
            self.errors.append(message.text)

    def _listen(self, socket: WebSocket) -> None:
        number = self.sockets = self.sockets + 1

        def hear(payload: str | bytes) -> None:
            if number <= self.heeded:
                return
            if isinstance(payload, bytes):
                self.pictures += 1
            else:
                self.heard.append(json.loads(payload))

        socket.on("framereceived", hear)

    def forget(self) -> None:
        """What was heard so far, and whatever comes yet of its streams."""
        self.heeded, self.pictures = self.sockets, 0
        self.heard.clear()

    def of(self, kind: str) -> list[dict]:
        return [message for message in self.heard if message["type"] == kind]

    def until(self, true: Callable[[], object], what: str) -> None:
        """Let the page go on, and the events of the driver come in, until it is true."""

        def check() -> object:
            self.page.wait_for_timeout(40)
            return true()

        try:
            until(check, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; the page says: {self.notice()!r} {self.errors}") from None

    def until_says(self, *labels: str) -> None:
        """The answer is one of these words; on a busy machine it may be called an old one."""
        self.until(lambda: {self.text("#label"), self.text("#answer-age").split(", ")[0]} & {*labels}, f"{labels}")

    def hears_nothing(self) -> bool:
        """No message came for half a second."""
        count = len(self.heard)
        self.page.wait_for_timeout(500)
        return len(self.heard) == count

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def value(self, name: str) -> str:
        return self.text(f"[data-meter={name}]")

    def notice(self) -> str:
        return self.text("#notice")

    def click(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def drop(self, path: Path) -> None:
        """Drop a file on the page as a person does."""
        kind = {".png": "image/png", ".webm": "video/webm"}.get(path.suffix, "application/octet-stream")
        transfer = self.page.evaluate_handle(
            """([bytes, name, type]) => { const transfer = new DataTransfer();
               const raw = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0));
               transfer.items.add(new File([raw], name, { type })); return transfer; }""",
            [base64.b64encode(path.read_bytes()).decode(), path.name, kind],
        )
        for event in ("dragenter", "dragover", "drop"):
            self.page.dispatch_event("body", event, {"dataTransfer": transfer})

    def window(self, canvas: str) -> tuple[float, float, float] | None:
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

    def colours(self, canvas: str) -> int:
        """How many the canvas shows."""
        return self.page.evaluate(
            """(id) => { const c = document.getElementById(id); const d = c.getContext("2d")
               .getImageData(0, 0, c.width, c.height).data; return new Set(new Uint32Array(d.buffer)).size; }""",
            canvas,
        )


Visitor = Callable[..., Visit]
Check = Callable[[Visit], None]
Show = Callable[[list[NDArray[np.uint8]]], object]


def has_models(seen: Visit) -> Visit:
    """The page has its models, and the recording that plays by itself was stopped."""
    seen.until(lambda: seen.page.locator("#samples button").count(), "the page has its models and recordings")
    if not seen.page.evaluate("matchMedia('(prefers-reduced-motion: reduce)').matches"):
        seen.until(lambda: seen.page.locator("#stop").is_visible(), "a recording plays by itself")
        seen.click("Stop")
        seen.forget()
    return seen


def nmnist_file(path: Path, name: str) -> Path:
    """A shipped sample as an N-MNIST file."""
    return write(path, events_of(name), NMNIST_SENSOR, "nmnist")
