"""Takes the pictures of the documents: the page while it classifies (animated), models compared, two things taught.

`python docs/pictures/take.py [--only WORD]` writes files beside this one, and none in which an answer is not the true
one, or less than 95 % sure, or late; shown.json says of each what it shows, what is answered, and of which page.
`--check` names those of an older page. Needs Chromium and playwright.
"""

import argparse
import hashlib
import io
import json
import re
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

import uvicorn
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from spikesight.app.webcam.demo import default_model
from spikesight.models.classifier import Classifier
from spikesight.models.shipped import find, shipped
from spikesight.service.api import create_app
from spikesight.service.settings import Settings

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))
from tests.support.chromium import FAKE_CAMERA  # noqa: E402
from tests.support.inputs.things import clip, mjpeg  # noqa: E402

ANIMATED_S, A_PICTURE_S = 4.5, 0.12  # two rounds, and the time from one picture to the next
HOLD_MS = 1500  # the last picture of the animation
LARGEST = 1 << 20  # bytes of the animation
COLOURS = 256  # of a picture's palette: small files, no visible loss
SURE = 95  # per cent, from which an answer may stand in a picture


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


def visit(browser: Browser, url: str) -> Page:
    context = browser.new_context(color_scheme="light", viewport={"width": 1320, "height": 890})
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
    likely = re.search(r"(\d+) % likely", page.locator(".evidence").text_content() or "")
    return likely is not None and int(likely[1]) >= SURE


def wait_for(page: Page, true: Callable[[], bool], seconds: float) -> None:
    """Poll until it holds or the time is over; `insist` judges afterwards."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not true():
        page.wait_for_timeout(40)


def recording(page: Page, label: str, played_s: float) -> Iterator[tuple[float, bytes, bool]]:
    """Screenshots (seconds, PNG, `sure`) while the page plays a shipped recording, from its first label on."""
    page.get_by_role("button", name=f"digit {label}").click()
    wait_for(page, lambda: page.locator("#label").inner_text() != "–", 60)
    begin = time.monotonic()
    while (now := time.monotonic() - begin) < played_s:
        insist(page, label)
        picture = page.screenshot()
        insist(page, label)  # nor did it change meanwhile
        yield now, picture, sure(page)


def animate(browser: Browser, url: str, label: str = "3") -> None:
    """page.webp: the page while it classifies a shipped recording, as fast as it was seen."""
    page = visit(browser, url)
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
def chromium() -> Iterator[Browser]:
    """A browser."""
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        yield browser
        browser.close()


def of_comparisons(browser: Browser, url: str) -> None:
    """A drawing through all models of digits."""
    page = visit(browser, url)
    page.get_by_role("button", name="Compare").click()
    page.locator("#draw").click()
    page.get_by_role("button", name="Write a 3").click()
    answers = page.locator(".column strong")
    wait_for(page, lambda: set(answers.all_inner_texts()) == {"3"}, 120)
    page.wait_for_timeout(1000)  # the bars grow
    save("page-compare", page.screenshot(), "drawn-3", insist(page, "3", ".column strong"))
    page.context.close()


def of_teaching(url: str) -> None:
    """A mug and a key are taught to a fake camera, and another clip of the mug is told."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        film = Path(folder) / "camera.mjpeg"
        flags = ["--no-sandbox", "--disable-gpu", *FAKE_CAMERA, f"--use-file-for-fake-video-capture={film}"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        page = visit(browser, url)
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


def main() -> None:
    """Take all of them, or some."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("animation", "compare", "teach"), help="take this alone")
    only = parser.parse_args().only
    if only in (None, "teach"):
        with serving((Classifier.load(find(default_model())),)) as url:
            of_teaching(url)
    if only != "teach":
        with serving(tuple(Classifier.load(find(name)) for name in shipped())) as url, chromium() as browser:
            if only in (None, "animation"):
                animate(browser, url)
            if only in (None, "compare"):
                of_comparisons(browser, url)


if __name__ == "__main__":
    main()
