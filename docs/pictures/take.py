"""Takes the pictures of the documents: the page that watches a camera (animated), models compared, two things taught.

`python docs/pictures/take.py [--only WORD]` writes files beside this one, and none in which an answer is not the true
one; shown.json says of each what it shows, what is answered, and of which page. `--check` names those of an older page.
`--look FOLDER` writes there what the pictures are of at the widths of a desk and a phone, light and dark: look at them.

The page's clock and camera are this script's, so a slow machine takes the same pictures; only the times that the server
measures are those of the machine. Needs Chromium and playwright; some minutes on two quiet cores.
"""

import argparse
import base64
import hashlib
import io
import json
import shutil
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import uvicorn
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, WebSocket, sync_playwright

from spikesight.app.webcam.demo import default_model
from spikesight.models.classifier import Classifier
from spikesight.models.shipped import find, shipped
from spikesight.service.api import create_app
from spikesight.service.settings import Settings

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))
from tests.support.inputs.things import clip  # noqa: E402

FRAME_MS = 33  # of the camera
EVERY = 9  # frames from one picture of the animation to the next
HOLD_MS = 2000  # the last picture of the animation
WIDTH = 960  # pixels of the animation; the page is 1280 wide
QUALITIES, LARGEST = (80, 70, 60, 45), 700 << 10  # of the animation: the first one with so few bytes
COLOURS = 256  # of a picture's palette: small files, no visible loss
PATIENCE_S, AGAIN_S = 300, 10  # for an answer; until a frame that the page did not send is shown again

CAMERA = """
  const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 240 });
  const context = canvas.getContext("2d");
  let media = null;
  navigator.mediaDevices.getUserMedia = async () => (media = canvas.captureStream(0));
  navigator.mediaDevices.enumerateDevices = async () => [];
  window.film = async (jpeg) => {
    const bytes = Uint8Array.from(atob(jpeg), (letter) => letter.charCodeAt(0));
    context.drawImage(await createImageBitmap(new Blob([bytes])), 0, 0);
    media.getVideoTracks()[0].requestFrame();
  };
"""

Picture = NDArray[np.uint8]


class Visit:
    """A page whose clock stands still unless it is told to go on, and whose camera films what it is given."""

    def __init__(self, browser: Browser, url: str, height: int = 890) -> None:
        self.context = browser.new_context(color_scheme="light", viewport={"width": 1280, "height": height})
        self.context.set_default_timeout(1e3 * PATIENCE_S)
        self.page = page = self.context.new_page()
        self.asked = set[int]()  # messages of the stream without an answer
        self.sent = 0
        page.on("websocket", self._listen)
        page.clock.install(time=0)
        page.add_init_script(CAMERA)
        page.goto(url)
        page.clock.pause_at(60)
        self.until(lambda: page.locator("#samples button").count() > 0, "the page has its lists")

    def _listen(self, socket: WebSocket) -> None:
        self.asked.clear()

        def hear(payload: str | bytes) -> None:
            if isinstance(payload, str):
                self.asked.discard(json.loads(payload).get("seq", 0))

        def tell(payload: str | bytes) -> None:
            if isinstance(payload, bytes):
                self.asked.add(struct.unpack_from("<I", payload)[0])
                self.sent += 1

        socket.on("framereceived", hear)
        socket.on("framesent", tell)

    def wait(self, ms: int) -> None:
        """Let so much time pass on the page; what it asks meanwhile is answered."""
        for begin in range(0, ms, FRAME_MS):
            self.answered(min(FRAME_MS, ms - begin))

    def answered(self, ms: int) -> None:
        """Let time pass on the page as it really passes, at most so much, until its stream is answered; then the rest.

        Ends the script if it is never answered.
        """
        left, end = ms, time.monotonic() + PATIENCE_S
        while self.asked:
            begin = time.monotonic()
            if begin > end:
                raise SystemExit(f"no picture: no answer within {PATIENCE_S} s")
            self.page.wait_for_timeout(5)
            passed = min(left, round(1e3 * (time.monotonic() - begin)))
            if passed:
                self.page.clock.run_for(passed)
                left -= passed
        if left:
            self.page.clock.run_for(left)

    def until(self, true: Callable[[], bool], what: str) -> None:
        """Go on until it holds. Ends the script if it never does."""
        end = time.monotonic() + PATIENCE_S
        while not true():
            if time.monotonic() > end:
                raise SystemExit(f"no picture: not within {PATIENCE_S} s: {what}")
            self.wait(FRAME_MS)
            self.page.wait_for_timeout(20)

    def start_camera(self) -> None:
        """The camera films from now on."""
        self.page.get_by_role("button", name="Start camera").click()
        live = self.page.locator("#link-text")
        self.until(lambda: self._filmed(np.full((240, 320, 3), 128, np.uint8)) and live.inner_text() == "live", "live")

    def _filmed(self, frame: Picture) -> bool:
        jpeg = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
        self.page.evaluate("(jpeg) => film(jpeg)", base64.b64encode(jpeg.tobytes()).decode())
        return True

    def film(self, frame: Picture) -> None:
        """Show one frame to the camera, and let the page answer."""
        before, end = self.sent, time.monotonic() + PATIENCE_S
        while self.sent == before:
            if time.monotonic() > end:
                raise SystemExit(f"no picture: no frame was sent within {PATIENCE_S} s")
            self._filmed(frame)
            again = time.monotonic() + AGAIN_S
            while self.sent == before and time.monotonic() < again:
                self.page.wait_for_timeout(5)
        self.answered(FRAME_MS)

    def says(self, of: str = "#label") -> str:
        """The headline, or what all elements say that have this selector."""
        return ", ".join(sorted(set(self.page.locator(of).all_inner_texts())))

    def insist(self, truth: str, of: str = "#label") -> str:
        """What is said; refuses a picture whose answers are not the true ones."""
        if (said := self.says(of)) != truth:
            raise SystemExit(f"no picture: the page says {said}, and {truth} is shown")
        return said


@contextmanager
def serving(classifiers: tuple[Classifier, ...]) -> Iterator[str]:
    """The service on a free port."""
    server = uvicorn.Server(uvicorn.Config(create_app(Settings(), classifiers), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.1)
    try:
        yield f"http://localhost:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser."""
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        yield browser
        browser.close()


# ---- what the camera sees


def stroke(digit: str) -> NDArray[np.float64]:
    """A handwritten digit: points [N, 2] in the unit square."""
    if digit == "7":
        return np.array([(0.18, 0.08), (0.82, 0.06), (0.6, 0.42), (0.44, 0.95)])
    upper, lower = np.radians(np.linspace(-150, 90, 20)), np.radians(np.linspace(-90, 150, 20))
    above = np.stack([0.48 + 0.27 * np.cos(upper), 0.27 + 0.22 * np.sin(upper)], 1)
    below = np.stack([0.48 + 0.31 * np.cos(lower), 0.72 + 0.23 * np.sin(lower)], 1)
    return np.concatenate([above, below])


def card(digit: str) -> Picture:
    """A card with a digit, four times as large as the camera sees it."""
    made = np.full((480, 368, 3), (226, 234, 238), np.uint8)
    points = (stroke(digit) * (200, 300) + (84, 90)).round().astype(np.int32)
    cv2.polylines(made, [points], False, (62, 42, 34), 34, cv2.LINE_AA)
    return made


def on_wall(placed: list[tuple[Picture, float, float, float]]) -> Picture:
    """Cards (picture, x and y of the middle, degrees) before a wall, as the camera sees them: uint8 [240, 320, 3]."""
    rows, columns = np.mgrid[:240, :320]
    light = 1.0 - 0.22 * np.hypot(columns - 110, rows - 40) / 400
    scene = (light[..., None] * (118, 132, 140)).astype(np.float32)
    for picture, x, y, turn in placed:
        high, wide = picture.shape[:2]
        move = cv2.getRotationMatrix2D((wide / 2, high / 2), turn, 0.25)
        move[:, 2] += (x - wide / 2, y - high / 2)
        paint = cv2.warpAffine(picture, move, (320, 240), flags=cv2.INTER_AREA).astype(np.float32)
        cover = cv2.warpAffine(np.full((high, wide), 1.0, np.float32), move, (320, 240), flags=cv2.INTER_AREA)
        shadow = cv2.GaussianBlur(np.roll(cover, (3, 3), (0, 1)), (0, 0), 4)
        scene *= 1 - 0.35 * shadow[..., None]
        scene += cover[..., None] * (paint - scene)
    return scene.clip(0, 255).astype(np.uint8)


PLAY = (
    ("3", ((-1, 160), (2.4, 160), (2.9, -60))),
    ("7", ((3.1, 380), (4.3, 160), (5.7, 160), (6.7, 238))),
    ("3", ((6.3, -60), (7.5, 84))),
)
"""What the animation films: a card's digit, and where its middle is when (seconds, column)."""
ENDS = {2.3: "3", 5.6: "7", 9.2: "3 and 7"}  # seconds by which the page has to say so


def played(seconds: float) -> Picture:
    """The scene of PLAY at a time: hands hold the cards, and are never quite still."""
    placed = []
    for number, (digit, path) in enumerate(PLAY):
        x = float(np.interp(seconds, *zip(*path)))
        sway = 2 * np.pi * seconds + 2 * number
        moved = x + 7 * np.sin(0.9 * sway), 120 + 5 * np.sin(1.3 * sway), 3 * np.sin(0.7 * sway)
        placed += [(card(digit), *moved)] if path[0][0] <= seconds and -60 < x < 380 else []
    return on_wall(placed)


# ---- the pictures


def save(name: str, png: bytes, source: str, says: str) -> None:
    """A small PNG of a recording ("digit-3") or a drawing ("drawn-3"), and what is answered in it."""
    image = Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    image.save(HERE / f"{name}.png", optimize=True)
    note(HERE / f"{name}.png", source, says)


def note(path: Path, source: str, says: str) -> None:
    """Into shown.json beside it, with its SHA-256: a picture that was made anew is not the one that was judged."""
    path_of_notes = path.parent / "shown.json"
    notes = json.loads(path_of_notes.read_text()) if path_of_notes.is_file() else {}
    notes[path.name] = {"source": source, "says": says, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    notes[path.name] |= {"page": page_version()} if path.name.startswith("page") else {}
    path_of_notes.write_text(json.dumps(notes, indent=1, sort_keys=True) + "\n")
    print(f"{path.name} {path.stat().st_size / 1024:.0f} KiB: {source}, {says}")


@cache
def page_version() -> str:
    """Of the files that a browser is served, the tests aside: what a picture of the page is of."""
    page = HERE.parent.parent / "service" / "page"
    files = sorted(path for kind in ("html", "css", "js", "svg") for path in page.rglob(f"*.{kind}"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def look(visit: Visit, name: str, folder: Path | None) -> None:
    """Write what is shown now at two widths, light and dark, if there is a folder for it."""
    for width, height in ((1280, 890), (390, 844)) if folder else ():
        for scheme in ("light", "dark"):
            visit.page.set_viewport_size({"width": width, "height": height})
            visit.page.emulate_media(color_scheme=scheme)
            visit.wait(3 * FRAME_MS)
            visit.page.screenshot(path=folder / f"{name}-{width}-{scheme}.png", full_page=True)  # type: ignore[operator]


def animate(browser: Browser, url: str, folder: Path | None) -> None:
    """page.webp: the page while a digit is shown to the camera, another, and a second one beside it."""
    visit = Visit(browser, url, 860)
    visit.wait(1500)
    look(visit, "start", folder)
    visit.start_camera()
    pictures, ends = list[Image.Image](), dict(ENDS)
    frames = round(1e3 * max(ENDS) / FRAME_MS)
    for frame in range(frames + 1):
        visit.film(played(frame * FRAME_MS / 1e3))
        if frame * FRAME_MS / 1e3 >= min(ends, default=np.inf):
            said = visit.insist(ends.pop(min(ends)))
        if frame % EVERY == 0:
            png = Image.open(io.BytesIO(visit.page.screenshot())).convert("RGB")
            pictures.append(png.resize((WIDTH, WIDTH * png.height // png.width), Image.Resampling.LANCZOS))
    path = HERE / "page.webp"
    lasted = [EVERY * FRAME_MS] * (len(pictures) - 1) + [HOLD_MS]
    for quality in QUALITIES:
        pictures[0].save(
            path, save_all=True, append_images=pictures[1:], duration=lasted, loop=0, quality=quality, method=4
        )
        if path.stat().st_size <= LARGEST:
            break
    note(path, f"drawn-{said}", said)
    look(visit, "camera", folder)
    visit.context.close()


def of_comparisons(browser: Browser, url: str, folder: Path | None) -> None:
    """A drawing through all models of digits."""
    visit, answers = Visit(browser, url, 720), ".column strong"
    visit.page.get_by_role("button", name="Compare").click()
    visit.page.locator("#draw").click()
    visit.page.get_by_role("button", name="Write a 3").click()
    visit.until(lambda: visit.says(answers) == "3", "every model says 3")
    visit.wait(1000)
    save("page-compare", visit.page.screenshot(), "drawn-3", visit.insist("3", answers))
    look(visit, "compare", folder)
    visit.context.close()


def of_teaching(browser: Browser, url: str, folder: Path | None) -> None:
    """A mug and a key are taught, and another clip of the mug is told."""
    visit = Visit(browser, url)
    page = visit.page
    page.get_by_role("button", name="Teach", exact=True).click()
    for number, label in ((1, "mug"), (2, "key"), (3, "nothing")):
        page.get_by_label(f"Name of class {number}").fill(label)
        page.keyboard.press("Enter")
    visit.start_camera()
    for label, seed, key in (("mug", 0, "1"), ("key", 0, "2"), ("mug", 1, "1"), ("key", 1, "2")):
        for number, frame in enumerate(clip(label, seed, 170)):
            if number == 20:  # what was there before has gone
                page.keyboard.down(key)
            visit.film(frame)
        page.keyboard.up(key)
        visit.until(lambda: not page.locator(".score.learning").count(), "it has learnt")
    for number, frame in enumerate(clip("mug", 7, 300)):
        visit.film(frame)
        if number > 60 and visit.says() == "mug":
            break
    save("page-teach", page.screenshot(), "drawn-mug", visit.insist("mug"))
    look(visit, "teach", folder)
    visit.context.close()


def main() -> int:
    """Take all of them, or some; return 1 if --check finds one of an older page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("animation", "compare", "teach"), help="take this alone")
    parser.add_argument("--look", type=Path, metavar="FOLDER", help="write what is to be looked at there, too")
    parser.add_argument("--check", action="store_true", help="take none, and name those of an older page")
    args = parser.parse_args()
    if args.check:
        notes = json.loads((HERE / "shown.json").read_text())
        old = [name for name, kept in notes.items() if kept.get("page", page_version()) != page_version()]
        print(*(f"{name} is of an older page" for name in old), sep="\n")
        return bool(old)
    if args.look:
        args.look.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        if args.only in (None, "teach"):
            with serving((Classifier.load(find(default_model())),)) as url:
                of_teaching(browser, url, args.look)
        if args.only != "teach":
            with serving(tuple(Classifier.load(find(name)) for name in shipped())) as url:
                if args.only in (None, "compare"):
                    of_comparisons(browser, url, args.look)
                if args.only in (None, "animation"):
                    animate(browser, url, args.look)
    return 0


if __name__ == "__main__":
    sys.exit(main())
