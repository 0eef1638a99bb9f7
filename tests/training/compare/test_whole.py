"""The comparison on a tiny folder of pictures: every way, resuming, and a report that says what was measured."""

from dataclasses import replace
from pathlib import Path

import pytest

from spikesight.training.compare.comparison import Comparison
from spikesight.training.compare.config import CompareConfig
from spikesight.training.compare.report import write_report
from tests.support.inputs.data_sets import write_stripes


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stripes(tmp_path_factory.mktemp("pictures"))


def test_comparison_runs_resumes_and_reports(pictures: Path, tmp_path: Path) -> None:
    said: list[str] = []
    config = CompareConfig(
        data=str(pictures), output=str(tmp_path), train_images=90, ann_epochs=3, direct_epochs=1,
        direct=("direct/arctan/2",),
        methods=("rueckauer", "ours"), steps=12, aim=8, images=20,
        long=("rueckauer",), long_steps=20, long_images=8, calibration=32, held=6, chosen_images=24,
        aims=(4,),
    )  # fmt: skip
    results = Comparison(config, said.append).run()
    sizes = {
        name: [(curve.method, curve.steps, curve.images) for curve in getattr(results, name)]
        for name in ("chosen", "aimed", "binary", "direct", "long")
    }
    best = max(results.trials, key=lambda t: t.right).method
    assert sizes == {
        "chosen": [(best, 8, 24)],
        "aimed": [(f"{best} made for T = 4", 4, 20)],
        "binary": [("rueckauer", 12, 20), ("ours", 12, 20)],
        "direct": [("direct/arctan/2", 2, 20)],
        "long": [("rueckauer", 20, 8)],
    }
    assert [(t.method, t.steps) for t in results.trials] == [("rueckauer", 8), ("ours", 8)]
    assert (results.ann.images, results.stdp) == (24, []), "STDP reads grey images"
    assert results.direct[0].work["2"].macs > 0
    assert results.binary[1].work["8"].acs > 0
    markdown, page = write_report(results, tmp_path)
    text = markdown.read_text()
    assert all(words in text for words in ("# Two ways to a spiking network", "| ours |", "45 nm"))
    assert (tmp_path / "pictures").is_dir()
    assert "data:image/png;base64," in page.read_text()
    said.clear()
    assert Comparison(config, said.append).run() == results
    assert all("kept" in line for line in said)
    Comparison(replace(config, seed=1), said.append).direct("direct/arctan/2")
    assert len(list(tmp_path.glob("direct-*"))) == 2  # no run goes on with one of other settings
