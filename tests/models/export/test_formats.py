"""ONNX files: each behaves as the network does, or is not written; and how two sides are compared."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spikesight.models.contract import Card, Contract
from spikesight.models.conversion.ann_to_snn import convert
from spikesight.models.export import formats
from spikesight.models.export.formats import export, read_onnx
from spikesight.models.export.parity import ExportError, Runner, compared, example_inputs
from spikesight.models.neurons.config import CLIF, PLIF, SLIDING_PSN, NeuronConfig
from spikesight.models.neurons.layers import at_pace
from spikesight.models.neurons.state import State, zero_state
from spikesight.models.novelty.rates import Rates
from tests.support.exporting import CARD, CONFIG, CONTRACT, require_onnx
from tests.support.models import lively, some_known
from tests.support.refusals import refusal

SMALLEST = replace(CONFIG, depths=(1,), widths=(8,))  # tracing takes seconds, by the layer


@pytest.mark.parametrize("neuron", [PLIF, CLIF, SLIDING_PSN])
def test_every_kind_of_neuron(neuron: NeuronConfig, tmp_path: Path) -> None:
    require_onnx()
    assert "100 of 100" in export(lively(replace(SMALLEST, neuron=neuron)), CARD, tmp_path / "model.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_a_network_in_training_is_exported_as_it_answers_at_its_pace(tmp_path: Path) -> None:
    require_onnx()
    path = tmp_path / "a" / "folder" / "model.onnx"
    network = at_pace(lively(SMALLEST), 0.5)
    export(network.train(), CARD, path)
    assert "100 of 100" in compared(network.eval(), read_onnx(path), CONTRACT)
    with pytest.raises(ExportError):
        compared(lively(SMALLEST), read_onnx(path), CONTRACT)


def test_what_is_not_exported_is_said_and_not_begun(tmp_path: Path) -> None:
    elsewhere = lively(SMALLEST).to("meta")
    refusal(lambda: export(elsewhere, CARD, tmp_path / "m.onnx"), "only a network on the CPU", ExportError)
    refusal(lambda: export(lively(SMALLEST), CARD, tmp_path / "m.pt2"), r"must end in \.onnx or \.nir", ExportError)
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


def test_onnx_names_metadata_and_a_free_batch(tmp_path: Path) -> None:
    require_onnx()
    import onnxruntime

    network = lively(CONFIG)
    known = some_known(network, CONTRACT)
    said = export(network, replace(CARD, novelty=known), tmp_path / "model.onnx")
    assert not any(module._forward_hooks for module in network.modules())
    assert said == "the logits of 100 of 100 steps are those of the network"
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"], "it stands alone"
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    state = zero_state(network, *CONTRACT.shape)
    assert [port.name for port in session.get_inputs()] == ["x", *(f"state.{key}" for key in state)]
    assert [port.name for port in session.get_outputs()] == ["logits", *(f"after.{key}" for key in state), "rates"]
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["spikesight.contract"])["bin_us"] == 10_000
    assert json.loads(facts["spikesight.labels"]) == ["a", "b", "c"]
    assert json.loads(facts["spikesight.state"]) == {key: list(value.shape[1:]) for key, value in state.items()}
    (kind,) = json.loads(facts["spikesight.in_distribution"])["kinds"]
    assert kind["lines"]["shown"] == pytest.approx(known.lines.shown.tolist())
    rates = Rates(network, known.layers)
    for streams in (1, 5):
        x = example_inputs(CONTRACT, 1, streams)
        feeds = {f"state.{key}": value.numpy() for key, value in zero_state(network, *CONTRACT.shape, streams).items()}
        logits, noted = session.run(["logits", "rates"], {"x": x[0].numpy(), **feeds})
        with torch.no_grad():
            assert np.abs(logits - network(x)[0][0].numpy()).max() < 1e-4
        assert np.abs(noted - rates.read()[0].numpy()).max() < 1e-6


def test_converted_networks(tmp_path: Path) -> None:
    require_onnx()
    images = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 3)]
    card = Card(Contract("image", 3, 8, 8, 4, "direct"), ("a", "b", "c"))
    network = convert(nn.Sequential(*layers).eval(), [images], "ours")
    assert "100 of 100" in export(network, card, tmp_path / "model.onnx")


@pytest.mark.parametrize(("added", "differs"), [(0.9e-3, False), (1.1e-3, True), (math.nan, True)])
def test_logits_that_differ_by_more_than_a_thousandth_are_told(added: float, differs: bool) -> None:
    network = lively(CONFIG)

    def other(steps: int) -> Runner:
        def run(x_seq: Tensor, state: State) -> tuple[Tensor, State]:
            logits, after = network(x_seq, state)
            logits[:steps] += added
            return logits, after

        return run

    assert compared(network, other(25), CONTRACT).startswith(f"the logits of {50 if differs else 100} of 100 steps")
    if differs:  # more steps than ties explain
        with pytest.raises(ExportError, match="in all but 48 of 100 steps"):
            compared(network, other(26), CONTRACT)
