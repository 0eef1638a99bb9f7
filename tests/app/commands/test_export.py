"""`spikesight export`: what its flags refuse before anything is traced, and what reaches the export."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spikesight.app.cli import main
from spikesight.models.checkpoint import save
from tests.support.exporting import CARD, CONFIG
from tests.support.models import lively


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "m"
    save(path, lively(CONFIG), replace(CARD, contract=replace(CARD.contract, shortest_bin_us=1000)))
    return path


@pytest.mark.parametrize(("words", "bin_us"), [("", 10_000), ("--bin-ms 5", 5_000)])
def test_flags_reach_the_export(
    words: str, bin_us: int, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def export(network: Any, card: Any, out: Path) -> str:
        spans = {neuron.span for neuron in network.modules() if hasattr(neuron, "span")} or {1.0}
        asked.append((card.contract.bin_us, spans, out))
        out.touch()
        return "alike"

    monkeypatch.setattr("spikesight.app.commands.export.export", export)
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(model), "--out", str(tmp_path / "f.onnx"), *words.split()]) == 0
    assert main(["export", str(model), "--format", "nir", *words.split()]) == 0
    assert main(["export", str(model), "--format", "nir", "--out", "f.onnx", *words.split()]) == 2
    outs = tmp_path / "f.onnx", Path("m.nir")  # else the file has the model's name
    assert asked == [(bin_us, {bin_us / 10_000}, out) for out in outs]
