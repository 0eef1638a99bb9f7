"""Results of jobs: where they lie, how long they took, and what is said of them."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from spikesight.training.compare import store
from spikesight.training.compare.results import AnnResult, Cost, Counted, Curve, CurvePiece, Result, Trial
from spikesight.training.compare.store import Store, digest, say


def test_a_digest_is_that_of_the_sorted_keys() -> None:
    assert digest({"b": 1, "a": [2]}) == digest({"a": [2], "b": 1})
    assert digest({"a": 1}) == hashlib.sha256(b'{"a": 1}').hexdigest()[:12]


def test_a_result_is_kept_with_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    ticks = iter([100.0, 103.26])
    monkeypatch.setattr(store, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    for _ in range(2):
        kept = Store(tmp_path / "not" / "yet", said.append)
        found = kept.get(Counted, "a/b", {"x": 1}, lambda: Counted(method="m", right=1, images=8))
        assert (found.name, found.seconds, found.right) == ("a/b", 3.3, 1)
    (file,) = (tmp_path / "not" / "yet" / "results").iterdir()
    assert file.name == f"a-b-{digest([2, 'a/b', {'x': 1}])}.json"
    assert json.loads(file.read_text())["summary"] == "12.50 %"
    assert said == ["a/b ...", "a/b: 12.50 % (3 s)", "a/b: kept"]


def test_progress_is_apart_from_results(capsys: pytest.CaptureFixture[str]) -> None:
    say("ann ...")
    assert capsys.readouterr() == ("", "ann ...\n")


def test_a_line_for_each_kind_of_result() -> None:
    ann = AnnResult(accuracy=91.456, images=9, accuracy_here=9.0, images_here=9, macs=1.0, activations=1)
    trial = Trial(method="m", right=3, images=8, steps=4)
    piece = CurvePiece(correct=[1, 3], images=8, ann=5, exits={})
    curve = Curve(method="m", correct=[1, 3], images=8)
    other = Curve(method="m", correct=[1, 3], images=8, ann_accuracy=62.5)
    assert [result.summary for result in (Result(), ann, trial, piece, curve, other)] == [
        "done", "91.46 %", "37.50 % at T = 4 on held-out training images", "37.50 % (ANN 62.50 %)",
        "37.50 % at T = 2", "37.50 % at T = 2, its ANN 62.50 %",
    ]  # fmt: skip
    assert (curve.at(1), curve.at(2), curve.steps) == (12.5, 37.5, 2)
    cost = Cost(2.0, 3.0)
    assert (cost.operations, cost.rate, cost.spikes, cost.updates) == (5.0, 0.0, 0.0, 0.0)
    assert (Result().seconds, Result().stored("a", 1.26).seconds) == (0.0, 1.3)
