"""The comparison on a tiny folder of pictures: every way, resuming, and a report that says what was measured."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from spikesight.app.cli import main
from spikesight.models.networks.ann import ANNS
from spikesight.models.networks.resnet import NETWORKS
from spikesight.training.compare import comparison
from spikesight.training.compare.comparison import Comparison
from spikesight.training.compare.config import QUICK, CompareConfig
from spikesight.training.compare.report import Block, to_html, to_markdown, write_report
from spikesight.training.compare.results import AnnResult, Cost, Curve, Results, StdpResult
from spikesight.training.compare.store import Store
from spikesight.training.compare.tables import claims, equal_work, steps_to
from tests.support.inputs.data_sets import write_stripes


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stripes(tmp_path_factory.mktemp("pictures"))


def tiny(pictures: Path, output: Path) -> CompareConfig:
    return CompareConfig(
        data=str(pictures), output=str(output), train_images=90, ann_epochs=3, direct_epochs=1,
        direct=("direct/arctan/2",),
        methods=("rueckauer", "ours"), multi=("multi",), steps=12, aim=8, multi_steps=4, images=24, long=("rueckauer",),
        long_steps=20, long_images=8, calibration=32, stdp_neurons=0, qcfs_epochs=1, held=6, chosen_images=24,
        aims=(4,),
    )  # fmt: skip


def test_comparison_runs_resumes_and_reports(pictures: Path, tmp_path: Path) -> None:
    said: list[str] = []
    config = tiny(pictures, tmp_path)
    results = Comparison(config, said.append).run()
    assert results.ann.images == 24
    assert [r.method for r in results.binary] == ["rueckauer", "ours", "qcfs"]
    assert len(results.binary[0].correct) == 12
    assert len(results.direct[0].correct) == 2
    assert results.direct[0].work["2"].macs > 0
    assert results.binary[1].work["8"].acs > 0
    assert [r.method for r in results.aimed] == [f"{results.chosen[0].method} made for T = 4"]
    assert {t.method for t in results.trials} == {"rueckauer", "ours", "multi"}
    best = max((t for t in results.trials if t.coding == "binary"), key=lambda t: t.right)
    assert results.chosen[0].method == best.method
    assert len(results.chosen[0].correct) == config.aim
    markdown, page = write_report(results, tmp_path)
    text = markdown.read_text()
    assert "# Two ways to a spiking network" in text
    assert "| ours |" in text
    assert "45 nm" in text
    assert (tmp_path / "pictures").is_dir()
    assert "data:image/png;base64," in page.read_text()
    said.clear()
    again = Comparison(config, said.append).run()
    assert again == results
    assert all("kept" in line for line in said)
    Comparison(replace(config, seed=1), said.append).direct("direct/arctan/2")
    assert len(list(tmp_path.glob("direct-*"))) == 2  # no run goes on with one of other settings


def test_store_keeps_results_by_what_decides_them(tmp_path: Path) -> None:
    calls, said = list[int](), list[str]()
    store = Store(tmp_path, said.append)

    def job() -> StdpResult:
        calls.append(1)
        return StdpResult(method="stdp", right=len(calls), images=9, seed=0)

    first = store.get(StdpResult, "a/b", {"x": 1}, job)
    assert store.get(StdpResult, "a/b", {"x": 1}, job) == first
    assert store.get(StdpResult, "a/b", {"x": 2}, job).right == 2
    assert len(list((tmp_path / "results").glob("a-b-*.json"))) == 2
    assert said[:3] == ["a/b ...", f"a/b: {first.summary} (0 s)", "a/b: kept"]


def test_results_stored_by_earlier_versions_are_read(tmp_path: Path) -> None:
    cost = {"macs": 2.0, "acs": 3.0, "rate": 0.1, "spikes": 4.0, "updates": 5.0}
    old = {"name": "convert/qcfs", "method": "qcfs", "correct": [1, 2], "images": 4, "ann_accuracy": 75.0,
           "exits": {"0.9": [1.5, 50.0]}, "work": {"2": cost}, "summary": "words", "seconds": 1.2}  # fmt: skip
    curve = Curve.from_json(old)
    assert (curve.correct, curve.exits["0.9"], curve.work["2"]) == ([1, 2], (1.5, 50.0), Cost(**cost))
    assert set(curve.to_json()) == set(old)
    ann = {"accuracy": 90.0, "images": 4, "accuracy_here": 89.0, "images_here": 2, "held_accuracy": None, "macs": 7,
           "activations": 5, "name": "ann", "summary": "90 %", "seconds": 1.0}  # fmt: skip
    trial = {"method": "ours", "steps": 2, "right": 3, "images": 4, "coding": "binary", "summary": "", "seconds": 0.1}
    document = {"config": {"data": "mnist", "aims": [4, 8], "no_longer_known": 1}, "data": "mnist", "classes": 10,
                "ann": ann, "trials": [trial], "chosen": [], "aimed": [], "binary": [old], "multi": [], "direct": [],
                "stdp": [], "long": []}  # fmt: skip
    results = Results.from_json(json.loads(json.dumps(document)))
    assert (results.config.aims, results.trials[0].coding, results.binary[0].at(2)) == ((4, 8), "binary", 50.0)
    markdown, _ = write_report(results, tmp_path)
    assert "| qcfs |" in markdown.read_text()
    assert Results.from_json(json.loads(json.dumps(results.to_json()))) == results


def some_results(**curves: list[Curve]) -> Results:
    ann = AnnResult(accuracy=90.0, images=100, accuracy_here=90.0, images_here=100, macs=1.0, activations=1)
    return Results(config=CompareConfig(), data="none", classes=2, ann=ann, **curves)  # type: ignore[arg-type]


def test_claims_follow_the_numbers() -> None:
    def curve(name: str, correct: list[int]) -> Curve:
        return Curve(method=name, correct=correct, images=100)

    slow, fast = curve("rueckauer", [10] * 149 + [90] * 51), curve("ours", [50, 89, 90, 90])
    results = some_results(
        binary=[fast],
        long=[slow],
        direct=[curve("direct/arctan/2", [60, 80]), curve("direct/arctan/4", [60, 80, 81, 85])],
    )
    found = {row[0]: row[1] for row in claims(results)}
    assert found["more steps raise direct accuracy"] == "holds"
    assert found["conversion (Rueckauer) needs hundreds of steps"] == "holds"
    assert found["any conversion needs hundreds of steps"] == "does not hold"
    assert found["conversion at T = 200 beats direct training"] == "holds"
    assert found["conversion's latency is two orders of magnitude higher at equal accuracy"] == "does not hold"
    few = replace(results, long=[replace(slow, images=99)])
    found = {row[0]: row[1] for row in claims(few)}
    assert found["conversion (Rueckauer) needs hundreds of steps"] == "not tested"
    assert steps_to(slow, 89) == 150
    assert steps_to(fast, 95) is None


def test_equal_work_reads_each_conversion_at_the_largest_step_that_fits() -> None:
    def run(name: str, correct: list[int], costs: dict[str, float]) -> Curve:
        work = {t: Cost(c / 2, c / 2) for t, c in costs.items()}
        return Curve(method=name, correct=correct, images=100, work=work)

    results = some_results(
        direct=[run("direct/arctan/2", [50, 80], {"2": 3e6})],
        chosen=[Curve(method="ours", correct=[1], images=100)],
        aimed=[run("ours made for T = 4", [1, 2, 3, 70], {"4": 9e6})],
        binary=[run("ours", [10, 90, 20, 95], {"2": 2e6, "3": 3e6, "4": 4e6}), run("half", [9], {"1": 1e6})],
    )
    rows = [row[:4] for row in equal_work(results)[1:]]
    assert [row[:3] for row in rows] == [
        ["direct/arctan/2", "2", "3.00"],
        ["... ours made for T = 4", "none fits", ""],
        ["... ours", "3", "3.00"],
    ]
    assert rows[2][3].startswith("20.00")


def test_pieces_of_a_curve_are_the_whole(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny(pictures, tmp_path / "whole")
    whole = Comparison(config, lambda _: None)
    ann, _ = whole.ann()
    expected = whole.conversion(ann, "ours", 6, 4, 24)
    monkeypatch.setattr(comparison, "BLOCK", 7)
    pieces = Comparison(replace(config, output=str(tmp_path / "pieces")), lambda _: None)
    found = pieces.conversion(ann, "ours", 6, 4, 24)
    assert len(list((tmp_path / "pieces" / "results").glob("convert-*.json"))) == 4
    assert found.correct == expected.correct
    for confidence, pair in expected.exits.items():
        assert found.exits[confidence] == pytest.approx(pair)
    assert (found.images, found.ann_accuracy) == (24, pytest.approx(expected.ann_accuracy))


def test_markdown_and_html_escape() -> None:
    parts = [Block("h2", "a < b"), Block("table", [["x"], ["<i>"]]), Block("list", ["&"])]
    assert "<i>" not in to_html(parts, Path())
    assert to_markdown(parts, "p").startswith("# a < b")


def test_command(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--data", str(tmp_path / "none"), "--output", str(tmp_path)]) == 2
    assert "neither a folder" in capsys.readouterr().err
    assert main(["compare", "--data", str(pictures), "--output", str(tmp_path), "--methods", "magic"]) == 2
    assert "unknown method 'magic'" in capsys.readouterr().err
    words = [
        "--network",
        "cifar-resnet8",
        "--methods",
        "none",
        "--multi",
        "multi",
        "--long",
        "none",
        "--direct",
        "none",
    ]
    sizes = ["--images", "8", "--calibration", "8", "--ann-epochs", "1", "--multi-steps", "2", "--stdp-seeds", "0"]
    assert main(["compare", "--data", str(pictures), "--output", str(tmp_path), *words, *sizes]) == 0
    assert "report.html" in capsys.readouterr().out
    assert json.loads((tmp_path / "results.json").read_text())["binary"] == []
    assert set(QUICK) <= set(CompareConfig.__dataclass_fields__)


def test_a_network_with_no_spiking_twin_is_refused_before_any_work(pictures: Path, tmp_path: Path) -> None:
    config = replace(tiny(pictures, tmp_path / "out"), network="small-cnn")
    with pytest.raises(ValueError, match="small-cnn has no spiking network"):
        Comparison(config, lambda _: None)
    assert not (tmp_path / "out").exists()
    Comparison(replace(config, direct=()), lambda _: None)


def test_the_papers_shape_has_one_name_for_the_ann_and_its_spiking_network() -> None:
    assert set(ANNS) - set(NETWORKS) == {"small-cnn"}
    assert NETWORKS["resnet18-nopool"].pool == "none"


def test_other_weights_of_the_same_name_are_another_comparison(pictures: Path, tmp_path: Path) -> None:
    keys = []
    for seed in (0, 1, 1):
        torch.manual_seed(seed)
        folder = tmp_path / str(len(keys))
        folder.mkdir()
        torch.save(ANNS["cifar-resnet8"].build(3, 2).state_dict(), folder / "ann.pt")
        config = replace(tiny(pictures, tmp_path / "out"), weights=str(folder / "ann.pt"))
        keys.append(Comparison(config, lambda _: None).ann_key())
    assert keys[0] != keys[1]
    assert keys[1] == keys[2], "the same weights elsewhere"
    missing = replace(tiny(pictures, tmp_path / "out"), weights="nowhere.pt")
    with pytest.raises(ValueError, match=r"no file nowhere\.pt"):
        Comparison(missing, lambda _: None)
