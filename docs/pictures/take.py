"""Takes the pictures of the documents: the page in light, dark and phone size, a file's spike train, models compared
side by side, the desktop demo.

`python docs/pictures/take.py [--only WORD]` writes PNG files beside this one. Needs Chromium and playwright.
"""

import argparse
import io
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import uvicorn
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from app.webcam.demo import Demo, default_model
from app.webcam.sources import open_source
from models.classifier import Classifier
from models.shipped import find, shipped
from service.api import create_app
from service.settings import Settings

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "service" / "samples"))
from draw import digit  # noqa: E402

WIDE, PHONE = (1320, 890), (390, 844)
COLOURS = 256  # of a picture's palette: small files, no visible loss


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


def save(name: str, png: bytes) -> None:
    """A small PNG."""
    image = Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    image.save(HERE / f"{name}.png", optimize=True)
    print(f"{name}.png {(HERE / f'{name}.png').stat().st_size / 1024:.0f} KiB")


def visit(browser: Browser, url: str, scheme: str, size: tuple[int, int]) -> Page:
    context = browser.new_context(
        permissions=["camera"],
        color_scheme=scheme,  # type: ignore[arg-type]
        viewport={"width": size[0], "height": size[1]},
    )
    page = context.new_page()
    page.goto(url)
    page.wait_for_timeout(1500)
    return page


def when_sure(page: Page, label: str, seconds: float) -> bytes:
    """A screenshot once the page is sure of the label, or when the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        page.wait_for_timeout(40)
        sure = page.locator("#confidence").inner_text().split()
        if (
            page.locator("#label").inner_text() == label
            and sure
            and int(sure[0]) >= 90
            and time.monotonic() > end - seconds + 4
        ):
            break
    page.get_by_role("button", name="Pause").click()
    return page.screenshot()


@contextmanager
def chromium() -> Iterator[tuple[Browser, Path]]:
    """A browser whose camera sees the scene, and a picture of a seven to show it."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        video, picture = Path(folder) / "camera.mjpeg", Path(folder) / "seven.png"
        frames = [cv2.imencode(".jpg", scene(2 * np.pi * n / 30))[1].tobytes() for n in range(60)]
        video.write_bytes(b"".join(frames))
        cv2.imwrite(str(picture), digit("7"))
        flags = [
            "--no-sandbox",
            "--disable-gpu",
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
        ]
        flags.append(f"--use-file-for-fake-video-capture={video}")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        yield browser, picture
        browser.close()


def of_the_page(browser: Browser, url: str, picture: Path, seconds: float) -> None:
    """Light, dark and phone with the camera; a file."""
    for name, scheme, size in (("light", "light", WIDE), ("dark", "dark", WIDE), ("phone", "light", PHONE)):
        page = visit(browser, url, scheme, size)
        if name == "light":
            save("page-start", page.screenshot())
        page.get_by_role("button", name="Start camera").click()
        save(f"page-{name}", when_sure(page, "3", seconds))
        page.context.close()
    page = visit(browser, url, "light", WIDE)
    page.locator("#file").set_input_files(picture)
    page.wait_for_timeout(3000)
    save("page-file", page.screenshot())
    page.context.close()


def of_comparisons(browser: Browser, url: str, picture: Path, seconds: float) -> None:
    """The camera, a file and a drawing through all models of digits."""
    for name, scheme, size in (
        ("compare", "light", WIDE),
        ("compare-dark", "dark", WIDE),
        ("compare-phone", "light", PHONE),
    ):
        page = visit(browser, url, scheme, size)
        page.get_by_role("button", name="Compare").click()
        if name == "compare":
            page.get_by_role("button", name="Start camera").click()
        elif name == "compare-dark":
            page.locator("#file").set_input_files(picture)
        else:
            page.locator("#draw").click()
            page.get_by_role("button", name="Write a 5").click()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            page.wait_for_timeout(200)
            said = page.locator(".column strong").all_inner_texts()
            if len(set(said)) == 1 and said[0] != "–" and time.monotonic() > end - seconds + 6:
                break
        if name == "compare":
            page.get_by_role("button", name="Pause").click()
        save(f"page-{name}", page.screenshot(full_page=size == PHONE))
        page.context.close()


def of_the_desktop(classifier: Classifier) -> None:
    """The window of `spikesight webcam`, fed with the same scene."""
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "camera.mjpeg"
        frames = [cv2.imencode(".jpg", scene(2 * np.pi * n / 30))[1].tobytes() for n in range(75)]
        video.write_bytes(b"".join(frames))
        demo = Demo(classifier, open_source(str(video)))
        for glimpse in demo.source.glimpses:
            demo.see(glimpse)
        save("desktop", cv2.imencode(".png", demo.picture()[..., ::-1])[1].tobytes())


def main() -> None:
    """Take all of them, or some."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("page", "compare", "desktop"), help="take these alone")
    parser.add_argument("--seconds", type=float, default=60, help="how long to wait for a sure answer")
    args = parser.parse_args()
    if args.only in (None, "desktop"):
        of_the_desktop(Classifier.load(find(default_model())))
    if args.only == "desktop":
        return
    with serving(tuple(Classifier.load(find(name)) for name in shipped())) as url, chromium() as (browser, picture):
        if args.only in (None, "page"):
            of_the_page(browser, url, picture, args.seconds)
        if args.only in (None, "compare"):
            of_comparisons(browser, url, picture, args.seconds)


if __name__ == "__main__":
    main()
