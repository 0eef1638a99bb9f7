"""ONNX files: each behaves as the network does, or is not written; and how two sides are compared."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spikesight.app.cli import main
from spikesight.models.checkpoint import save
from spikesight.models.contract import Card, Contract
from spikesight.models.conversion.ann_to_snn import convert
from spikesight.models.export import formats
from spikesight.models.export.formats import export, read_onnx
from spikesight.models.export.parity import ExportError, Runner, check_parity, example_inputs, start_state
from spikesight.models.neurons.config import CLIF, PLIF, SLIDING_PSN, NeuronConfig
from spikesight.models.neurons.layers import at_pace
from spikesight.models.neurons.state import State
from spikesight.models.novelty.rates import Rates
from tests.support.exporting import CARD, CONFIG, CONTRACT, require_onnx
from tests.support.models import lively, some_known

SMALLEST = replace(CONFIG, depths=(1,), widths=(8,))  # tracing takes seconds, by the layer


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ONNX file of these tests."""
    require_onnx()
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    network = lively(CONFIG)
    said = export(network, replace(CARD, novelty=some_known(network, CONTRACT)), path)
    assert not any(module._forward_hooks for module in network.modules())
    assert said.startswith("over 50 steps the logits differ by at most ")
    assert ", 0 of " in said, "no ties"
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"], "it stands alone"
    return path


@pytest.mark.parametrize("neuron", [PLIF, CLIF, SLIDING_PSN])
def test_every_kind_of_neuron(neuron: NeuronConfig, tmp_path: Path) -> None:
    require_onnx()
    assert "50 steps" in export(lively(replace(SMALLEST, neuron=neuron)), CARD, tmp_path / "model.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_a_pace_that_a_format_or_a_model_has_not_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(
        tmp_path / "m",
        lively(replace(CONFIG, pool="none")),
        replace(CARD, contract=replace(CONTRACT, shortest_bin_us=1000)),
    )
    save(tmp_path / "one", lively(CONFIG), CARD)
    for words, sentence in (
        ([str(tmp_path / "m"), "--format", "nir", "--bin-ms", "2"], "--bin-ms away"),
        ([str(tmp_path / "one"), "--bin-ms", "2"], "bin_ms must be 10 for this model"),
    ):
        assert main(["export", *words, "--out", str(tmp_path / "m.nir")]) == 2
        assert sentence in capsys.readouterr().err
    assert not (tmp_path / "m.nir").exists()


def test_a_network_in_training_is_exported_as_it_answers_at_its_pace(tmp_path: Path) -> None:
    require_onnx()
    path = tmp_path / "a" / "folder" / "model.onnx"
    network = at_pace(lively(SMALLEST), 0.5)
    export(network.train(), CARD, path)
    assert check_parity(network.eval(), read_onnx(path), CONTRACT).logits < 1e-4
    with pytest.raises(ExportError):
        check_parity(lively(SMALLEST), read_onnx(path), CONTRACT)


def test_what_is_not_exported_is_said_and_not_begun(tmp_path: Path) -> None:
    for network, name, words in (
        (lively(SMALLEST).to("meta"), "m.onnx", "only a network on the CPU"),
        (lively(SMALLEST), "m.pt2", r"must end in \.onnx or \.nir"),
    ):
        with pytest.raises(ExportError, match=words):
            export(network, CARD, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_file_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_onnx()
    network = lively(SMALLEST)

    def read(*_: object) -> Runner:
        return lambda x_seq, state: (network(x_seq, state)[0] + 1, network(x_seq, state)[1])

    monkeypatch.setattr(formats, "read_onnx", read)
    with pytest.raises(ExportError):
        export(network, CARD, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_onnx_names_metadata_and_a_free_batch(onnx_file: Path) -> None:
    import onnxruntime

    network = lively(CONFIG)
    session = onnxruntime.InferenceSession(onnx_file)
    state = start_state(network, CONTRACT, 1)
    assert [port.name for port in session.get_inputs()] == ["x", *(f"state.{key}" for key in state)]
    assert [port.name for port in session.get_outputs()] == ["logits", *(f"after.{key}" for key in state), "rates"]
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["spikesight.contract"])["bin_us"] == 10_000
    assert json.loads(facts["spikesight.labels"]) == ["a", "b", "c"]
    assert json.loads(facts["spikesight.state"]) == {key: list(value.shape[1:]) for key, value in state.items()}
    known = some_known(network, CONTRACT)
    assert json.loads(facts["spikesight.known"])["kinds"][0]["lines"]["shown"] == pytest.approx(
        known.kinds[0].lines.shown.tolist()
    )
    rates = Rates(network, known.layers)
    for streams in (1, 5):
        x = example_inputs(CONTRACT, 1, streams)
        feeds = {f"state.{key}": value.numpy() for key, value in start_state(network, CONTRACT, streams).items()}
        logits, noted = session.run(["logits", "rates"], {"x": x[0].numpy(), **feeds})
        with torch.no_grad():
            assert np.abs(logits - network(x)[0][0].numpy()).max() < 1e-4
        assert np.abs(noted - rates.read()[0].numpy()).max() < 1e-6


def test_converted_networks(tmp_path: Path) -> None:
    require_onnx()
    images = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 3)]
    card = Card(Contract("image", 3, 8, 8, 4, "direct"), ("a", "b", "c"))
    assert "50 steps" in export(convert(nn.Sequential(*layers).eval(), [images], "ours"), card, tmp_path / "model.onnx")


def test_a_tie_is_not_a_difference() -> None:
    network = lively(CONFIG)

    def tied(x_seq: Tensor, state: State) -> tuple[Tensor, State]:
        """One neuron of the first layer fires in every step as no other does."""
        logits, after = network(x_seq, state)
        moved = after["blocks.0.neuron1"].clone()
        moved.view(2, -1)[0, 5] += 0.5
        behind = {key: value + 3 for key, value in after.items() if key > "blocks.0.neuron1"}
        first = torch.tensor([1.0, 0.0])[:, None]
        shifted = {key: torch.where(first.view(-1, 1, 1, 1) > 0, value, after[key]) for key, value in behind.items()}
        return logits + 5 * first, {**after, **shifted, "blocks.0.neuron1": moved}

    parity = check_parity(network, tied, CONTRACT)
    assert parity.ties == 50
    assert parity.logits == 0


NEURONS = 8 * 9 * 7  # of the first layer: a thousandth of them is no neuron


def compared(logits: float = 0.0, membranes: float = 0.0, count: int = NEURONS) -> tuple[int, float, int, int]:
    """The network beside itself, with something added to all logits and to so many membranes of the first layer."""
    network = lively(CONFIG)

    def other(x_seq: Tensor, state: State) -> tuple[Tensor, State]:
        found, after = network(x_seq, state)
        moved = after["blocks.0.neuron1"].clone()
        moved.view(2, -1)[0, :count] += membranes
        return found + logits, {**after, "blocks.0.neuron1": moved}

    parity = check_parity(network, other, CONTRACT)
    return parity.steps, parity.logits, parity.ties, parity.membranes


def test_a_thousandth_is_no_difference() -> None:
    of_all = 50 * sum(value.numel() for value in start_state(lively(CONFIG), CONTRACT).values())
    assert compared() == (50, 0, 0, of_all)
    steps, logits, ties, membranes = compared(0.9e-3, 0.0)
    assert (steps, ties, membranes) == (50, 0, of_all)
    assert logits == pytest.approx(0.9e-3, rel=0.01)
    with pytest.raises(ExportError, match="by step 1 the logits of the read-out differ by"):
        compared(1.1e-3, 0.0)


def test_what_is_no_number_is_a_difference() -> None:
    with pytest.raises(ExportError, match="the logits of the read-out differ by nan"):
        compared(math.nan, 0.0)
    with pytest.raises(ExportError, match=r"neurons of blocks\.0\.neuron1 differ"):
        compared(0.0, math.nan)


def test_one_neuron_of_a_small_layer_may_differ() -> None:
    assert compared(0, 1.1e-3, 1)[2] == 50
    with pytest.raises(ExportError, match=r"after step 1, 2 neurons of blocks\.0\.neuron1 differ"):
        compared(0, 1.1e-3, 2)
