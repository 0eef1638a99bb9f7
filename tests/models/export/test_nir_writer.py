"""NIR graphs that we write: they behave as the network, and say what NIR cannot."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from spikesight.models.contract import Card, Contract
from spikesight.models.conversion.ann_to_snn import convert
from spikesight.models.export import nir_writer
from spikesight.models.export.formats import export
from spikesight.models.export.nir_graph import Graph
from spikesight.models.export.nir_network import LAYERS, read_nir
from spikesight.models.export.nir_state import nir_state
from spikesight.models.export.parity import ExportError, example_inputs
from spikesight.models.networks.ann import CifarResNet
from spikesight.models.networks.converted.unit_spikes import unit_spikes
from spikesight.models.neurons.config import CLIF, IF, PLIF, RECTIFIER, SLIDING_PSN, NeuronConfig
from tests.support.exporting import CARD, CONFIG, CONTRACT
from tests.support.models import Functional, lively, warmed

nir = pytest.importorskip("nir", reason="nir is not installed: pip install 'spikesight[export]'")
CONFIGS = {
    "ms, max-pool, delayed subtracting reset": CONFIG,
    "sew, reset at once, inclusive": replace(
        CONFIG, block="sew", neuron=NeuronConfig(0.9, delay=False, inclusive=True)
    ),
    "plain, reset to zero": replace(CONFIG, block="plain", pool="none", neuron=NeuronConfig(0.7, reset="zero")),
    "IF": replace(CONFIG, block="plain", shortcut="pad", pool="avg", neuron=replace(IF, theta=1.5)),
    "IF to zero at once": replace(CONFIG, block="sew", neuron=replace(IF, reset="zero", delay=False)),
    "PLIF": replace(CONFIG, block="sew", neuron=PLIF),
    "scaled input": replace(CONFIG, neuron=NeuronConfig(0.25, scale_input=True, theta=0.5)),
    "beta 0": replace(CONFIG, neuron=NeuronConfig(0.0, delay=False)),
    "sliding PSN": replace(CONFIG, neuron=SLIDING_PSN),
    "bottleneck, max-pools, spiking read-out": replace(
        CONFIG, block="sew", bottleneck=True, downsample="max", spiking_readout=True, neuron=NeuronConfig(theta=0.1)
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_the_graph_behaves_as_the_network_from_its_state_on(name: str, tmp_path: Path) -> None:
    network, x_seq = lively(CONFIGS[name]), example_inputs(CONTRACT, 12)
    parity = export(network, CARD, "nir", tmp_path / "model.nir")
    assert (parity.steps, parity.ties <= 2) == (50, True)
    assert parity.logits < 1e-4
    graph = read_nir(tmp_path / "model.nir")
    before, state = network(x_seq[:5])
    assert float(before.abs().max()) > 0
    assert (graph(x_seq[:5])[0] - before).abs().median() < 1e-4, "from no state at all"
    expected, _ = network(x_seq[5:], state)
    found, _ = graph(x_seq[5:], nir_state(network, state))
    assert (found - expected).abs().amax((0, 2)).min() < 1e-4, "a stream without ties stays the same"
    assert (found[0] - expected[0]).abs().max() < 1e-4


def test_continuous_time_parameters(tmp_path: Path) -> None:
    path = tmp_path / "model.nir"
    neuron = NeuronConfig(0.75, theta=0.5, scale_input=True)
    export(lively(replace(CONFIG, block="plain", pool="none", neuron=neuron)), CARD, "nir", path)
    graph = nir.read(path)  # NIR's own reader, which checks every shape
    assert graph.metadata["dt"] == pytest.approx(0.01)
    assert "Euler" in graph.metadata["integration"]
    layer = graph.nodes["neuron"]
    assert isinstance(layer, nir.LI)
    assert layer.tau.flat[0] == pytest.approx(0.01 / 0.25)
    assert layer.r.flat[0] == pytest.approx(1)  # dt / tau R = 1 - beta
    assert layer.v_leak.max() == 0
    assert graph.nodes["neuron.spikes"].threshold.flat[0] == 0.5
    assert graph.nodes["neuron.reset"].scale.flat[0] == pytest.approx(-0.5 / 0.25)
    assert ("neuron.reset", "neuron") in graph.edges
    assert tuple(graph.nodes["output"].input_type["input"]) == (3,)


@pytest.mark.parametrize(
    ("neuron", "words"),
    [
        (CLIF, r"'clif', such as blocks\.0\.neuron1"),
        (RECTIFIER, r"'relu', such as blocks\.0\.neuron1"),
        (NeuronConfig(1.0, scale_input=True), "neuron1 scales its input by 1 - beta, which is 0"),
        (replace(SLIDING_PSN, taps=1), "neuron1 is a PSN of one tap"),
    ],
)
def test_what_nir_cannot_say_names_its_layer(neuron: NeuronConfig, words: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=words):
        export(lively(replace(CONFIG, neuron=neuron)), CARD, "nir", tmp_path / "model.nir")
    with pytest.raises(ExportError, match="Linear has no NIR form"):
        nir_writer.nir_graph(nn.Linear(2, 2), CARD)
    with pytest.raises(ExportError, match="no window"):
        export(lively(CONFIG), CARD, "nir", tmp_path / "model.nir", window=3)
    assert list(tmp_path.iterdir()) == []


def plain_cnn() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)).eval()


class Doubled(nn.Module):
    """A layer of neurons that is added to itself, an average pool, and a picture that is widened."""

    def __init__(self, padding: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.conv, self.norm, self.padding = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), padding
        self.pool, self.fc = nn.AvgPool2d(3, 2, 1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x)).relu()
        x = self.pool(x + x)
        return self.fc(nn.functional.pad(x, self.padding).mean((2, 3)) if self.padding else x.mean((2, 3)))


ANNS: dict[str, Callable[[], nn.Module]] = {
    "plain": plain_cnn,
    "padded shortcuts": lambda: CifarResNet(1),
    "functions": Functional,
    "a sum of the same": Doubled,
}


IMAGES = Card(Contract("image", 3, 8, 8, 4, "direct"), ("a", "b", "c"))


@pytest.mark.parametrize("name", ANNS)
@pytest.mark.parametrize(("method", "units"), [("half", False), ("half", True), ("hard-reset", False)])
@torch.no_grad()
def test_converted_graphs_behave_as_their_networks(
    name: str, method: str, units: bool, images: Tensor, tmp_path: Path
) -> None:
    images = images[:, :, :8, :8].contiguous()
    network = convert(warmed(ANNS[name](), images), [images], method)
    network = unit_spikes(network) if units else network
    card = replace(IMAGES, labels=tuple("abcdefghij"[: network.config.classes]))
    assert export(network, card, "nir", tmp_path / "model.nir").logits < 1e-3
    graph = read_nir(tmp_path / "model.nir")
    assert graph.dt == pytest.approx(1e-3), "a step of images has no length of its own"
    x_seq = images[:4].expand(9, 4, 3, 8, 8)
    before, state = network(x_seq[:5])
    assert float(before.abs().max()) > 0
    expected, _ = network(x_seq[5:], state)
    found, _ = graph(x_seq[5:], nir_state(network, state))
    assert (found - expected).abs().amax((0, 2)).min() < 1e-3, "a stream without ties goes on as it was"


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        (nn.AvgPool2d(2, ceil_mode=True), "no average pool like that of p"),
        (nn.AvgPool2d(3, 2, 1, count_include_pad=False), "no average pool like that of p"),
        (nn.MaxPool2d(2, dilation=2), "the max-pool p is dilated"),
        (nn.MaxPool2d(2, dilation=(1, 2)), "the max-pool p is dilated"),
        (nn.AvgPool2d(3, 2, count_include_pad=False), None),
        (nn.AvgPool2d((3, 2), (2, 1), (1, 0)), None),
        (nn.MaxPool2d((3, 2), (2, 1), (1, 0), ceil_mode=True), None),
    ],
)
def test_pools_that_nir_has(pool: nn.Module, words: str | None) -> None:
    graph = Graph((2, 7, 6), 0.01)
    if words is not None:
        with pytest.raises(ExportError, match=words):
            graph.pool("p", ("input",), pool)
        return
    signal = graph.pool("p", ("input",), pool)
    x = torch.rand(2, 2, 7, 6)
    assert graph.shape(signal) == pool(x).shape[1:]
    torch.testing.assert_close(LAYERS[type(graph.nodes["p"]).__name__](graph.nodes["p"], 0.01)(x), pool(x))


def test_a_layer_without_a_bias_gets_zeros() -> None:
    graph, layer = Graph((4,), 0.01), nn.Linear(4, 2, bias=False)
    graph.affine("a", ("input",), layer)
    assert graph.nodes["a"].bias.tolist() == [0, 0]
    assert graph.shapes["a"] == (2,)
