"""The folder that classifies without a server, as far as it needs no browser."""

import json
import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from benchmarks.wasm import ENGINE, compile_wasm, compiler, made_of, said_of
from spikesight.app import standalone
from spikesight.app.cli import main
from spikesight.encoders.emulator.frames import PIXELS
from spikesight.encoders.emulator.pixels import Emulator, PixelModel, log_levels
from spikesight.encoders.emulator.saccades import NMNIST
from spikesight.encoders.events import SensorSize
from spikesight.models.checkpoint import save
from spikesight.models.contract import Card
from spikesight.models.export.parity import ExportError
from tests.support.exporting import CARD, CONFIG
from tests.support.models import ann, lively, some_known

DIGITS = Card(replace(CARD.contract, height=34, width=34), ("0", "1", "3"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder written by the command."""
    place = tmp_path_factory.mktemp("web")
    network = lively(CONFIG)
    save(place / "model", network, replace(DIGITS, novelty=some_known(network, DIGITS.contract)))
    assert main(["export", str(place / "model"), "--web", str(place / "site")]) == 0
    assert sorted(path.name for path in place.iterdir()) == ["model", "site"]
    return place / "site"


def test_all_that_the_page_asks_for_is_there(folder: Path) -> None:
    for path in (*folder.rglob("*.js"), folder / "index.html"):
        wanted = re.findall(r'from "(\.[^"]+)"|(?:src|href)="([^":]+)"', path.read_text())
        for name in filter(None, (name for pair in wanted for name in pair)):
            assert name[0] == "#" or (path.parent / name).is_file(), f"{path.name}: {name}"
    assert (folder / "engine.wasm").read_bytes()[:4] == b"\0asm"


def test_nothing_but_own_scripts_may_run(folder: Path) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', (folder / "index.html").read_text())
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.group(1).split(";"))
    wanted = {"default-src": "'none'", "script-src": "'self' 'wasm-unsafe-eval'", "connect-src": "'self'"}
    assert rules.items() >= wanted.items()


@pytest.mark.parametrize(
    ("size", "pixels"), [(standalone.FRAME, PixelModel()), (SensorSize(34, 26), PIXELS)], ids=["whole", "moved"]
)
def test_pixels_are_those_of_the_emulator(size: SensorSize, pixels: PixelModel, tmp_path: Path) -> None:
    numbers = standalone.write_pixels(tmp_path, pixels, size)
    assert numbers["levels"] == log_levels(pixels.linear_below).tolist()
    shape = size.height, size.width
    on, off, start = np.fromfile(tmp_path / "pixels.f32", "<f4").reshape(3, *shape)
    emulator = Emulator(size, pixels)
    emulator.push(np.zeros(shape, np.uint8), 0)
    assert emulator.now is not None
    assert np.array_equal(emulator.now.reference, start)  # ln I of black is 0
    assert np.array_equal(emulator.on, on)
    assert np.array_equal(emulator.off, off)


def test_a_still_picture_is_moved_as_nmnists_images_were(folder: Path) -> None:
    path = np.array(json.loads((folder / "model.json").read_text())["path"])
    assert np.allclose(34 * path, 3 - NMNIST.corner(1.0), atol=1e-3)


def test_the_module_is_what_the_sources_give(tmp_path: Path) -> None:
    """After a change of the kernels: python -m benchmarks.wasm (pip install ziglang)."""
    sources, made_by = said_of(ENGINE.read_bytes()).split(" ", 1)
    assert sources == made_of()
    if find_spec("ziglang") is None or made_by != compiler():
        pytest.skip(f"not compiled anew: {made_by} is not here")
    compile_wasm(tmp_path / "engine.wasm")
    assert (tmp_path / "engine.wasm").read_bytes() == ENGINE.read_bytes()


def test_what_the_engine_does_not_run_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    for network, words in (
        (ann(channels=2), "neurons of kind 'relu'"),
        (lively(replace(CONFIG, spiking_readout=True)), "its logits are spikes"),
    ):
        with pytest.raises(ExportError, match=words):
            standalone.write_folder(tmp_path / "site", network, CARD, "m")
    assert not list(tmp_path.iterdir())
