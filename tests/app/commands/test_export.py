"""`spikesight export` before anything is traced: what its flags refuse, and what it says of a file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spikesight.app.cli import main
from spikesight.app.commands.export import bin_ms
from spikesight.models.checkpoint import save
from spikesight.models.export.parity import Parity
from spikesight.models.neurons.layers import at_pace
from tests.support.exporting import CARD, CONFIG
from tests.support.models import lively


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "m"
    save(path, lively(CONFIG), replace(CARD, contract=replace(CARD.contract, shortest_bin_us=1000)))
    return path


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--window", "0"], "--window must lie in 1 to 1000"),
        (["--window", "1001"], "--window must lie in 1 to 1000"),
        (["--web", "site", "--window", "1"], "--web goes without"),
        (["--web", "site", "--out", "f"], "--web goes without"),
        (["--web", "site", "--bin-ms", "any"], "--web goes without"),
        (["--web", "site", "--format", "nir"], "--web goes without"),
        (["--bin-ms", "nan"], "bin_ms must be whole milliseconds from 1 to 10"),
        (["--bin-ms", "0"], "bin_ms must be whole milliseconds from 1 to 10"),
        (["--bin-ms", "11"], "bin_ms must be whole milliseconds from 1 to 10"),
    ],
)
def test_flags_that_do_not_go_together(
    words: list[str],
    sentence: str,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(model), *words]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_lengths_of_a_bin(capsys: pytest.CaptureFixture[str]) -> None:
    assert bin_ms("any") == "any"
    assert bin_ms("2.5") == 2.5
    with pytest.raises(SystemExit) as stop:
        main(["export", "nmnist", "--bin-ms", "some"])
    assert stop.value.code == 2
    assert "'some' is no number of milliseconds, and not any" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "bin_us", "any_bin", "window"),
    [([], 10_000, False, None), (["--bin-ms", "5"], 5_000, False, None), (["--bin-ms", "10"], 10_000, False, None),
     (["--bin-ms", "any"], 10_000, True, None), (["--window", "1"], 10_000, False, 1),
     (["--window", "1000"], 10_000, False, 1000)],
)  # fmt: skip
def test_flags_reach_the_export(
    words: list[str], bin_us: int, any_bin: bool, window: int | None, model: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    asked: list[Any] = []

    def export(network: Any, card: Any, format: str, out: Path, **options: Any) -> Parity:
        asked.append((card.contract.bin_us, format, out, options, spans(network)))
        return Parity(50, 0.0, 0, 7)

    paces: list[float] = []
    monkeypatch.setattr("spikesight.app.commands.export.export", export)
    monkeypatch.setattr(
        "spikesight.app.commands.export.at_pace", lambda net, span: paces.append(span) or at_pace(net, span)
    )
    assert main(["export", str(model), "--out", str(tmp_path / "f"), *words]) == 0
    options = {"window": window, "any_bin": any_bin}
    assert asked == [(bin_us, "onnx", tmp_path / "f", options, {bin_us / 10_000})]
    assert paces == ([] if bin_us == 10_000 else [bin_us / 10_000]), "neurons that have one pace only keep it"


def spans(network: Any) -> set[float]:
    """The paces of its neurons."""
    return {neuron.span for neuron in network.modules() if hasattr(neuron, "span")} or {1.0}


def test_the_file_has_the_models_name(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(model), "--format", "torch"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt2"]
