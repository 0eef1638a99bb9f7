"""The core of the page in Firefox and WebKit: recordings by themselves and by choice, a camera, pictures, a drawing."""

import base64
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support.browsers.chromium import Nearby, digit_on_paper
from tests.support.browsers.firefox import firefox, needs_firefox
from tests.support.browsers.webkit import needs_webkit, webkit
from tests.support.inputs.samples import coat, empty_desk, face

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

SHOW = """(async (pictures) => {
  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const shown = await Promise.all(pictures.map((text) => createImageBitmap(new Blob([bytes(text)]))));
  const canvas = Object.assign(document.createElement("canvas"), { width: 640, height: 480 });
  let n = 0;
  setInterval(() => canvas.getContext("2d").drawImage(shown[n++ % shown.length], 0, 0), 33);
  navigator.mediaDevices.getUserMedia = async () => canvas.captureStream(30);
})"""
SAID = "document.querySelector('#label').textContent"


def before_the_camera(tab: Any, shown: Callable[[float], np.ndarray]) -> None:
    """From the camera's next start on it shows this again and again, one turn in 30 pictures."""
    pictures = [cv2.imencode(".jpg", shown(2 * np.pi * n / 30))[1].tobytes() for n in range(30)]
    tab.run(f"{SHOW}({json.dumps([base64.b64encode(picture).decode() for picture in pictures])})")


HEAR = """(() => {
  const Plain = WebSocket;
  window.heard = [];
  window.WebSocket = class extends Plain {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", (event) => {
        const message = typeof event.data === "string" ? JSON.parse(event.data) : {};
        if (message.type === "prediction") heard.push(message.steady);
      });
    }
  };
})()"""


@needs_firefox
def test_what_is_held_before_a_camera_in_firefox(service: Nearby, tmp_path: Path) -> None:
    with firefox(tmp_path) as tab:
        for shown in (digit_on_paper, coat, face, empty_desk):
            right = ("3",) if shown is digit_on_paper else ("", "unknown", "nothing")
            words = ("3",) if shown is digit_on_paper else ("nothing to see", "no digit here")
            tab.visit(service.url)
            tab.run(HEAR)
            before_the_camera(tab, shown)
            tab.run("void document.querySelector('#start').click()")
            tab.until(f"{json.dumps(right)}.includes(heard.at(-1))", "the first answers to a camera")
            tab.run("void (heard.length = 0)")
            tab.until("heard.length > 60", "answers")
            said = json.loads(tab.run("JSON.stringify(heard)"))
            assert sum(label in right for label in said) >= 0.98 * len(said), (shown, said)
            tab.until(f"{json.dumps(words)}.includes({SAID})", "it is said in words")
        assert tab.errors == []


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
