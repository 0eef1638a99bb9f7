"""Take the pictures of the page: it watches a camera (animated), models are compared, two things are taught.

`python docs/pictures/take.py [--only WORD]` writes files beside this one, and none in which an answer is not the true
one; shown.json says of each what it shows, what is answered, and of which page. `--check` names those of an older page.

Needs Chromium and playwright, and two quiet cores: the camera does not wait for a slow machine.
"""

import argparse
import hashlib
import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))
from spikesight.app.webcam.demo import default_model  # noqa: E402
from spikesight.models.shipped import shipped  # noqa: E402
from tests.support.chromium import CHROMIUM, FAKE_CAMERA, QUIET, Visit, served  # noqa: E402
from tests.support.inputs.things import clip, mjpeg  # noqa: E402

EVERY_MS, HOLD_MS, WIDTH = 300, 2000, 960  # from one picture of the animation to the next; its last; its pixels
QUALITY, COLOURS = 60, 256  # of the animation; of a picture's palette: small files, no visible loss
FPS = 30  # of the camera
PLAY = (("3", ((0, 160), (4.4, 160), (4.9, -60))), ("7", ((5.1, 380), (6.3, 160), (8, 160), (9, 238))),
        ("3", ((8.6, -60), (9.8, 84), (14, 84))))  # fmt: skip
"""What the animation films: a card's digit, and where its middle is when (seconds, column)."""


def played(seconds: float) -> NDArray[np.uint8]:
    """The scene of PLAY at a time, [240, 320, 3]: hands hold the cards, and are never quite still."""
    scene = np.full((240, 320, 3), (118, 132, 140), np.uint8)
    for number, (digit, path) in enumerate(PLAY):
        sway = 2 * np.pi * seconds + 2 * number
        x, y = np.interp(seconds, *zip(*path)) + 7 * np.sin(0.9 * sway), 120 + 5 * np.sin(1.3 * sway)
        if path[0][0] <= seconds:
            left, top = round(x - 46), round(y - 60)
            cv2.rectangle(scene, (left, top), (left + 92, top + 120), (226, 234, 238), -1)
            cv2.putText(scene, digit, (left + 14, top + 95), 0, 3.5, (62, 42, 34), 12, cv2.LINE_AA)
    return scene


@cache
def page_version() -> str:
    """Of the files that a browser is served, the tests aside: what a picture of the page is of."""
    page = HERE.parent.parent / "service" / "page"
    files = sorted(path for kind in ("html", "css", "js", "svg") for path in page.rglob(f"*.{kind}"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def note(path: Path, source: str, says: str) -> None:
    """Into shown.json beside it, with its SHA-256: a picture that was made anew is not the one that was judged."""
    notes = json.loads((HERE / "shown.json").read_text())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    notes[path.name] = {"source": source, "says": says, "sha256": digest, "page": page_version()}
    (HERE / "shown.json").write_text(json.dumps(notes, indent=1, sort_keys=True) + "\n")
    print(f"{path.name} {path.stat().st_size / 1024:.0f} KiB: {source}, {says}")


def save(name: str, seen: Visit, source: str, truth: str, of: str = "#label") -> None:
    """A small PNG of the page; none where what it says is not the truth."""
    image = Image.open(io.BytesIO(seen.page.screenshot())).convert("RGB")
    if (said := ", ".join(sorted(set(seen.page.locator(of).all_inner_texts())))) != truth:
        raise SystemExit(f"no picture: the page says {said}, and {truth} is shown")
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(HERE / f"{name}.png", optimize=True)
    note(HERE / f"{name}.png", source, truth)


@contextmanager
def visiting(height: int, *models: str) -> Iterator[tuple[Visit, Path]]:
    """A page of the service of these models, and the file that its camera films from its next start on."""
    with TemporaryDirectory() as folder, served(*models) as url, sync_playwright() as playwright:
        camera = mjpeg(Path(folder) / "camera.mjpeg", [played(0)])
        flags = [*QUIET, *FAKE_CAMERA, f"--use-file-for-fake-video-capture={camera}"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        size = {"width": 1280, "height": height}
        context = browser.new_context(permissions=["camera"], viewport=size, reduced_motion="reduce")  # type: ignore[arg-type]
        seen = Visit.opened(context, url)
        seen.until(lambda: seen.page.locator("#samples button").count(), "the page has its lists")
        yield seen, camera
        browser.close()


def animation() -> None:
    """page.webp: the page while a digit is shown to the camera, another, and a second one beside it."""
    with visiting(860, default_model()) as (seen, camera):
        mjpeg(camera, [played(n / FPS) for n in range(14 * FPS)])
        seen.click("Start camera")
        pictures, told = list[Image.Image](), list[str]()
        while "3 and 7" not in told:
            seen.page.wait_for_timeout(EVERY_MS)
            png = Image.open(io.BytesIO(seen.page.screenshot())).convert("RGB")
            pictures.append(png.resize((WIDTH, WIDTH * png.height // png.width), Image.Resampling.LANCZOS))
            told.append(seen.text("#label"))
            if len(told) > 14_000 // EVERY_MS:
                raise SystemExit(f"no picture: the page said {', '.join(dict.fromkeys(told))}")
    first, *rest = pictures
    lasted, path = [EVERY_MS] * len(rest) + [HOLD_MS], HERE / "page.webp"
    first.save(path, save_all=True, append_images=rest, duration=lasted, loop=0, quality=QUALITY, method=4)
    note(path, "drawn-3 and 7", told[-1])


def compare() -> None:
    """A drawing through all models of digits."""
    with visiting(720, *shipped()) as (seen, _):
        seen.click("Compare")
        seen.page.locator("#draw").click()
        seen.click("Write a 3")
        answers = seen.page.locator(".column strong")
        seen.until(lambda: {*answers.all_inner_texts()} == {"3"}, "every model says 3")
        seen.page.wait_for_timeout(1000)
        save("page-compare", seen, "drawn-3", "3", ".column strong")


def teach() -> None:
    """A mug and a key are taught, and another clip of the mug is told."""
    with visiting(890, default_model()) as (seen, camera):
        seen.click("Teach")
        for number, label in ((1, "mug"), (2, "key"), (3, "nothing")):
            seen.page.get_by_label(f"Name of class {number}").fill(label)
            seen.page.keyboard.press("Enter")
        for kind, seed, key in (("mug", 0, "1"), ("key", 0, "2"), ("mug", 1, "1"), ("key", 1, "2"), ("mug", 7, "")):
            if seen.page.locator("#stop").is_visible():
                seen.click("Stop")
            mjpeg(camera, clip(kind, seed, 300))
            seen.click("Start camera")
            seen.until(lambda: seen.text("#link-text") == "live", "live")
            seen.page.wait_for_timeout(1000)
            if key:
                seen.page.keyboard.down(key)
                seen.page.wait_for_timeout(5000)
                seen.page.keyboard.up(key)
                seen.until(lambda: not seen.page.locator(".score.learning").count(), "it has learnt")
        seen.until(lambda: seen.text("#label") == "mug", "the mug is told")
        save("page-teach", seen, "drawn-mug", "mug")


def main() -> int:
    """Take all of them, or one; return 1 if --check finds one of an older page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("animation", "compare", "teach"), help="take this alone")
    parser.add_argument("--check", action="store_true", help="take none, and name those of an older page")
    args = parser.parse_args()
    if args.check:
        notes = json.loads((HERE / "shown.json").read_text())
        old = [name for name, kept in notes.items() if kept.get("page", page_version()) != page_version()]
        print(*(f"{name} is of an older page" for name in old), sep="\n")
        return bool(old)
    for take in (teach, compare, animation):
        if args.only in (None, take.__name__):
            take()
    return 0


if __name__ == "__main__":
    sys.exit(main())
