"""Takes the pictures of the documents: the page while it classifies (animated), in light, dark and phone size, a file's
spike train, models compared side by side, two things taught, the desktop demo.

`python docs/pictures/take.py [--only WORD]` writes files beside this one, and none in which an answer is not the true
one, or less than 95 % sure, or late; shown.json says of each what it shows, what is answered, and of which page.
`--check` names those of an older page. Needs Chromium and playwright.
"""

import argparse
import hashlib
import io
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import uvicorn
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from spikesight.app.webcam.demo import Demo, default_model
from spikesight.encoders.sources.chunks import open_source
from spikesight.models.classifier import Classifier
from spikesight.models.shipped import find, shipped
from spikesight.service.api import create_app
from spikesight.service.settings import Settings

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent / "encoders" / "sources" / "samples"), str(HERE.parent.parent)]
from draw import digit  # noqa: E402

from tests.support.chromium import FAKE_CAMERA  # noqa: E402
from tests.support.inputs.things import clip, mjpeg  # noqa: E402

WIDE, PHONE = (1320, 890), (390, 844)
PLAYED_S = 14  # ten rounds of a shipped recording of 0.3 s at a quarter of its speed: most of the time axis
ANIMATED_S, A_PICTURE_S = 4.5, 0.12  # two rounds, and the time from one picture to the next
HOLD_MS = 1500  # the last picture of the animation
LARGEST = 1 << 20  # bytes of the animation
COLOURS = 256  # of a picture's palette: small files, no visible loss
SURE = 95  # per cent, from which an answer may stand in a picture


def scene(turn: float, name: str = "3") -> np.ndarray:
    """A hand-drawn digit on paper that sways before the camera, BGR uint8 [480, 640, 3]."""
    y, x = np.mgrid[:480, :640]
    paper = np.stack([196 + x / 40 + y / 60, 204 + x / 36 + y / 60, 210 + x / 34 + y / 60], 2)
    angle = np.deg2rad(2 * np.sin(turn))
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([320 + 32 * np.cos(turn), 240 + 20 * np.sin(2 * turn)]) - turned @ np.array([190, 190])
    mask = cv2.warpAffine(cv2.resize(digit(name), (380, 380)), np.column_stack([turned, middle]), (640, 480))
    ink = mask.astype(np.float32)[..., None] / 255
    return cv2.GaussianBlur((paper * (1 - ink) + np.array([72, 50, 38]) * ink).astype(np.uint8), (0, 0), 0.8)


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


def stale() -> list[str]:
    """The pictures of an older page, the gallery's among them."""
    notes = {str(path.parent): json.loads(path.read_text()) for path in HERE.rglob("shown.json")}
    return [
        str(Path(folder).relative_to(HERE) / name)
        for folder, pictures in notes.items()
        for name, one in pictures.items()
        if name.startswith("page") and one.get("page") != page_version()
    ]


def visit(browser: Browser, url: str, scheme: str, size: tuple[int, int]) -> Page:
    context = browser.new_context(
        color_scheme=scheme,  # type: ignore[arg-type]
        viewport={"width": size[0], "height": size[1]},
    )
    page = context.new_page()
    page.goto(url)
    page.wait_for_timeout(1500)
    return page


def insist(page: Page, truth: str, of: str = "#label") -> str:
    """What is said; refuses a picture whose answers are not the true one, or of a page that cannot keep up."""
    said = set(page.locator(of).all_inner_texts())
    link = page.locator("#link-text").inner_text()
    if said != {truth} or "overloaded" in link:
        raise SystemExit(f"no picture: the page says {', '.join(sorted(said))} ({link}), and {truth} is shown")
    return said.pop()


def sure(page: Page) -> bool:
    """Whether the answer that is shown is sure enough for a picture."""
    return float(page.locator("#confidence").inner_text().rstrip(" %") or 0) >= SURE


def wait_for(page: Page, true: Callable[[], bool], seconds: float) -> None:
    """Poll until it holds or the time is over; `insist` judges afterwards."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not true():
        page.wait_for_timeout(40)


def recording(page: Page, label: str, played_s: float = PLAYED_S) -> Iterator[tuple[float, bytes, bool]]:
    """Screenshots (seconds, PNG, `sure`) while the page plays a shipped recording, from its first label on."""
    page.get_by_role("button", name=f"digit {label}").click()
    wait_for(page, lambda: page.locator("#label").inner_text() != "–", 60)
    begin = time.monotonic()
    while (now := time.monotonic() - begin) < played_s:
        insist(page, label)
        picture = page.screenshot()
        insist(page, label)  # nor did it change meanwhile
        yield now, picture, sure(page)


def fullest(pictures: Iterator[tuple[float, bytes, bool]]) -> bytes:
    """The one with most in it of the later half's sure ones."""
    late = [png for seconds, png, good in pictures if good and seconds > PLAYED_S / 2]
    if not late:
        raise SystemExit("no picture: no answer is sure enough")
    return max(late, key=len)


def animate(browser: Browser, url: str, label: str = "3") -> None:
    """page.webp: the page while it classifies a shipped recording, as fast as it was seen."""
    page = visit(browser, url, "light", WIDE)
    kept = list[tuple[float, bytes, bool]]()
    for taken in recording(page, label, ANIMATED_S):
        if not kept or taken[0] - kept[-1][0] >= A_PICTURE_S:
            kept.append(taken)
    times, pictures, good = zip(*kept)
    page.context.close()
    if not good[-1]:
        raise SystemExit("no picture: the last answer is not sure enough")
    frames = [Image.open(io.BytesIO(png)).convert("RGB") for png in pictures]
    lasted = [round(1e3 * (after - before)) for before, after in pairwise(times)]
    path = HERE / "page.webp"
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=[*lasted, HOLD_MS], loop=0, quality=80, method=4
    )
    if path.stat().st_size > LARGEST:
        raise SystemExit("page.webp is too large")
    note(path, f"digit-{label}", label)


@contextmanager
def chromium() -> Iterator[tuple[Browser, Path]]:
    """A browser, and a picture of a seven to show it."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        picture = Path(folder) / "seven.png"
        cv2.imwrite(str(picture), digit("7"))
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        yield browser, picture
        browser.close()


def of_the_page(browser: Browser, url: str, picture: Path) -> None:
    """The start; light, dark and phone with a shipped recording; a file."""
    for name, scheme, size, label in (
        ("light", "light", WIDE, "3"),
        ("dark", "dark", WIDE, "7"),
        ("phone", "light", PHONE, "5"),
    ):
        page = visit(browser, url, scheme, size)
        if name == "light":
            wait_for(page, lambda page=page: page.locator("#label").inner_text() == "0" and sure(page), 60)
            says = insist(page, "0")
            save("page-start", page.screenshot(), "digit-0", says)
        save(f"page-{name}", fullest(recording(page, label)), f"digit-{label}", label)
        page.context.close()
    page = visit(browser, url, "light", WIDE)
    page.locator("#file").set_input_files(picture)
    wait_for(page, lambda: page.locator("#train-controls").is_visible() and sure(page), 60)
    says = insist(page, "7")
    save("page-file", page.screenshot(), "drawn-7", says)
    page.context.close()


def of_comparisons(browser: Browser, url: str, picture: Path) -> None:
    """A file and drawings through all models of digits."""
    for name, scheme, size, truth in (
        ("compare", "light", WIDE, "3"),
        ("compare-dark", "dark", WIDE, "7"),
        ("compare-phone", "light", PHONE, "5"),
    ):
        page = visit(browser, url, scheme, size)
        page.get_by_role("button", name="Compare").click()
        if name == "compare-dark":
            page.locator("#file").set_input_files(picture)
        else:
            page.locator("#draw").click()
            page.get_by_role("button", name=f"Write a {truth}").click()
        answers = page.locator(".column strong")
        wait_for(page, lambda answers=answers, truth=truth: set(answers.all_inner_texts()) == {truth}, 120)
        page.wait_for_timeout(1000)  # the bars grow
        says = insist(page, truth, ".column strong")
        save(f"page-{name}", page.screenshot(full_page=size == PHONE), f"drawn-{truth}", says)
        page.context.close()


def of_teaching(url: str) -> None:
    """A mug and a key are taught to a fake camera, and another clip of the mug is told."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        film = Path(folder) / "camera.mjpeg"
        flags = ["--no-sandbox", "--disable-gpu", *FAKE_CAMERA, f"--use-file-for-fake-video-capture={film}"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        page = visit(browser, url, "light", WIDE)
        page.get_by_role("button", name="Teach", exact=True).click()
        for number, label in ((1, "mug"), (2, "key"), (3, "nothing")):
            page.get_by_label(f"Name of class {number}").fill(label)
            page.keyboard.press("Enter")
        pictures = page.locator(".card .examples img")
        for label, seed, key in (("mug", 0, "1"), ("key", 0, "2"), ("mug", 1, "1"), ("key", 1, "2"), ("mug", 7, "")):
            if page.locator("#stop").is_visible():
                page.locator("#stop").click()
            mjpeg(film, clip(label, seed, 300))
            page.get_by_role("button", name="Start camera").click()
            wait_for(page, lambda: page.locator("#link-text").inner_text() == "live", 60)
            if key:
                wanted = pictures.count() + 15
                page.keyboard.down(key)
                wait_for(page, lambda wanted=wanted: pictures.count() >= wanted, 60)
                page.keyboard.up(key)
        wait_for(page, lambda: page.locator("#label").inner_text() == "mug", 60)
        page.wait_for_timeout(1500)
        says = insist(page, "mug")
        save("page-teach", page.screenshot(), "drawn-mug", says)
        browser.close()


def of_the_desktop(classifier: Classifier) -> None:
    """The window of `spikesight webcam`, fed with the same scene."""
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "camera.mjpeg"
        frames = [cv2.imencode(".jpg", scene(2 * np.pi * n / 30))[1].tobytes() for n in range(75)]
        video.write_bytes(b"".join(frames))
        demo = Demo(classifier, open_source(str(video)))
        for chunk in demo.source.chunks:
            demo.process(chunk)
        if demo.answer is None or demo.answer.steady != "3" or max(demo.answer.prediction.probabilities) < SURE / 100:
            raise SystemExit("no picture: the demo does not see the 3, or is not sure")
        save("desktop", cv2.imencode(".png", demo.picture()[..., ::-1])[1].tobytes(), "drawn-3", demo.answer.steady)


def main() -> None:
    """Take all of them, or some."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("animation", "page", "compare", "teach", "desktop"), help="take these alone")
    parser.add_argument("--check", action="store_true", help="name the pictures of an older page, and take none")
    args = parser.parse_args()
    if args.check:
        raise SystemExit("of an older page: " + ", ".join(found) if (found := stale()) else 0)
    if args.only in (None, "desktop"):
        of_the_desktop(Classifier.load(find(default_model())))
    if args.only in (None, "teach"):
        with serving((Classifier.load(find(default_model())),)) as url:
            of_teaching(url)
    if args.only in ("desktop", "teach"):
        return
    with serving(tuple(Classifier.load(find(name)) for name in shipped())) as url, chromium() as (browser, picture):
        if args.only in (None, "animation"):
            animate(browser, url)
        if args.only in (None, "page"):
            of_the_page(browser, url, picture)
        if args.only in (None, "compare"):
            of_comparisons(browser, url, picture)


if __name__ == "__main__":
    main()
