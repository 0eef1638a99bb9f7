"""The folder that classifies without a server, as far as it needs no browser."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spikesight.app import standalone
from spikesight.app.cli import main
from spikesight.encoders.emulator.pixels import Emulator, PixelModel, log_levels
from spikesight.encoders.sources import samples
from spikesight.models.checkpoint import save
from spikesight.models.contract import Card
from spikesight.models.export.parity import ExportError
from tests.support.exporting import CARD, CONFIG, require_onnx
from tests.support.models import lively, some_known

DIGITS = Card(replace(CARD.contract, height=34, width=34), ("0", "1", "3"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder written by the command."""
    require_onnx()
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
            assert path.name == "ort.js" or name[0] == "#" or (path.parent / name).is_file(), f"{path.name}: {name}"
    assert "MIT" in (folder / "LICENSE-onnxruntime.txt").read_text()
    assert (folder / "offline" / "vendor" / "ort.wasm").read_bytes()[:4] == b"\0asm"


def test_nothing_but_own_scripts_may_run(folder: Path) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', (folder / "index.html").read_text())
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.group(1).split(";"))
    wanted = {"default-src": "'none'", "script-src": "'self' 'wasm-unsafe-eval'", "connect-src": "'self'"}
    assert rules.items() >= wanted.items()


def test_facts_of_the_network(folder: Path) -> None:
    facts = json.loads((folder / "model.json").read_text())
    assert (facts["labels"], facts["contract"]["bin_us"]) == (["0", "1", "3"], DIGITS.contract.bin_us)
    (known,) = facts["known"]["kinds"]
    assert len(known["centres"]) == 3
    assert len(known["lines"]["kept"]) == facts["contract"]["steps"]
    assert {sample["name"] for sample in facts["samples"]} == {"digit-0", "digit-3"}
    assert (folder / "samples" / "digit-3.t64").read_bytes() == samples.t64_of("digit-3")
    assert facts["pixels"]["levels"] == log_levels(PixelModel().linear_below).tolist()


def test_pixels_are_those_of_the_emulator(folder: Path) -> None:
    on, off, start = np.fromfile(folder / "pixels.f32", "<f4").reshape(3, 240, 320)
    emulator = Emulator(standalone.FRAME)
    emulator.push(np.zeros((240, 320), np.uint8), 0)
    assert emulator.state is not None
    assert np.array_equal(emulator.state.reference, start)  # ln I of black is 0
    assert np.array_equal(emulator._on, on)
    assert np.array_equal(emulator._off, off)


def test_a_damaged_runtime_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(standalone.RUNTIME, "ort.wasm", "0" * 64)
    with pytest.raises(ExportError, match=r"ort\.wasm .* is damaged"):
        standalone.copy_page(tmp_path)
