"""The core of the page in Firefox and WebKit: recordings by themselves and by choice, a camera, pictures, a drawing."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.support.browsers.chromium import Nearby
from tests.support.browsers.firefox import firefox, needs_firefox
from tests.support.browsers.webkit import needs_webkit, webkit

Browser = Callable[[Path], AbstractContextManager[Any]]

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


@pytest.mark.parametrize(
    ("browser", "has_camera"),
    [
        pytest.param(firefox, True, marks=needs_firefox, id="firefox"),
        pytest.param(webkit, False, marks=needs_webkit, id="webkit"),  # its driver offers no false camera
    ],
)
def test_the_page(browser: Browser, has_camera: bool, service: Nearby, tmp_path: Path) -> None:
    def click(selector: str) -> str:
        return f"void document.querySelector({selector!r}).click()"

    def says(label: str) -> str:
        return f"document.querySelector('#label').textContent === '{label}'"

    with browser(tmp_path) as tab:
        tab.visit(service.url)
        tab.until(says("0"), "a recording plays by itself")
        tab.until("document.querySelectorAll('#samples canvas').length === 8", "thumbnails")
        tab.run(click("[aria-label='Play the recording digit 3']"))
        tab.until(says("3"), "a recording of a 3")
        tab.run(click("#stop"))
        if has_camera:
            tab.run(click("#start"))
            tab.until("document.body.dataset.source === 'camera'", "the camera starts")
            tab.until("parseInt(document.querySelector('[data-meter=rate]').textContent) > 0", "frames are answered")
            tab.run(click("#stop"))
        tab.run(DROP_A_THREE)
        tab.until(says("3") + " && !document.querySelector('#train-controls').hidden", "a picture and its spike train")
        tab.run(click("#stop"))
        tab.run(click("#draw"))
        tab.run(click("[aria-label='Write a 7']"))
        tab.until(says("7"), "a written 7")
        assert tab.errors == []
