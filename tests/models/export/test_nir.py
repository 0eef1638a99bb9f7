"""NIR both ways: graphs that we write behave as the network and are read by others; those of others become networks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spikesight.app.cli import main
from spikesight.models.checkpoint import load
from spikesight.models.contract import Card, Contract
from spikesight.models.conversion.ann_to_snn import convert
from spikesight.models.export.formats import export
from spikesight.models.export.nir import Graph, import_network, read_nir, runner
from spikesight.models.export.parity import ExportError, example_inputs
from spikesight.models.networks.ann import CifarResNet
from spikesight.models.networks.resnet import ResNetConfig
from spikesight.models.neurons.config import CLIF, IF, PLIF, RECTIFIER, SLIDING_PSN, NeuronConfig
from tests.support.exporting import CARD, CONTRACT
from tests.support.exporting import CONFIG as POOLED
from tests.support.models import Functional, lively, warmed
from tests.support.refusals import refusal

nir = pytest.importorskip("nir", reason="nir is not installed: pip install 'spikesight[export]'")
pytest.importorskip("nirtorch", reason="nirtorch is not installed: pip install 'spikesight[export]'")
CONFIG = replace(POOLED, pool="none")
CONFIGS = {
    "ms, delayed subtracting reset": CONFIG,
    "sew, reset at once, inclusive": replace(
        CONFIG, block="sew", pool="avg", neuron=NeuronConfig(0.9, delay=False, inclusive=True)
    ),
    "plain, reset to zero": replace(CONFIG, block="plain", neuron=NeuronConfig(0.7, reset="zero")),
    "IF": replace(CONFIG, block="plain", shortcut="pad", pool="avg", neuron=replace(IF, theta=1.5)),
    "IF to zero at once": replace(CONFIG, block="sew", neuron=replace(IF, reset="zero", delay=False)),
    "PLIF": replace(CONFIG, block="sew", neuron=PLIF),
    "scaled input": replace(CONFIG, neuron=NeuronConfig(0.25, scale_input=True, theta=0.5)),
    "beta 0": replace(CONFIG, neuron=NeuronConfig(0.0, delay=False)),
    "bottleneck, spiking read-out": replace(
        CONFIG, block="sew", bottleneck=True, spiking_readout=True, neuron=NeuronConfig(theta=0.1)
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_the_graph_behaves_as_the_network_and_goes_on_from_its_state(name: str, tmp_path: Path) -> None:
    network, x_seq = lively(CONFIGS[name]), example_inputs(CONTRACT, 12)
    assert "100 of 100" in export(network, CARD, tmp_path / "model.nir")
    run = runner(*read_nir(tmp_path / "model.nir"))
    expected, _ = network(x_seq)
    first, state = run(x_seq[:5], {})
    found = torch.cat([first, run(x_seq[5:], state)[0]])
    assert float(expected.abs().max()) > 0
    assert (found - expected).abs().max() < 1e-4
    if CONFIGS[name].neuron.reset == "zero":  # as NIR says by itself
        again, _ = import_network(tmp_path / "model.nir", CONTRACT)
        assert (again(x_seq)[0] - expected).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (lively(replace(CONFIG, neuron=CLIF)), r"'clif', such as blocks\.0\.neuron1"),
        (lively(replace(CONFIG, neuron=SLIDING_PSN)), r"'psn', such as blocks\.0\.neuron1"),
        (lively(replace(CONFIG, neuron=RECTIFIER)), r"'relu', such as blocks\.0\.neuron1"),
        (
            lively(replace(CONFIG, neuron=NeuronConfig(1.0, scale_input=True))),
            "scales its input by 1 - beta, which is 0",
        ),
        (lively(POOLED), r"no pool like pool \(MaxPool2d\)"),
        (nn.Linear(2, 2), "Linear has no NIR form"),
    ],
)
def test_what_nir_cannot_say_names_its_layer(network: nn.Module, words: str, tmp_path: Path) -> None:
    refusal(lambda: export(network, CARD, tmp_path / "model.nir"), words, ExportError)
    assert not list(tmp_path.iterdir())


class Doubled(nn.Module):
    """A layer of neurons that is added to itself, an average pool, and channels that are widened."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.pool, self.fc = nn.AvgPool2d(3, 2, 1), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x)).relu()
        return self.fc(nn.functional.pad(self.pool(x + x), (0, 0, 0, 0, 1, 1)).mean((2, 3)))


IMAGES = Card(Contract("image", 3, 8, 8, 4, "direct"), ("a", "b", "c"))


@pytest.mark.parametrize("pool", [nn.AvgPool2d(2, ceil_mode=True), nn.AvgPool2d(3, 2, 1, count_include_pad=False)])
def test_a_pool_that_nir_has_not_is_refused(pool: nn.Module) -> None:
    refusal(lambda: Graph((2, 7, 6), 0.01).pool("p", ("input",), pool), "no pool like p", ExportError)


@pytest.mark.parametrize("make", [lambda: CifarResNet(1), Functional, Doubled], ids=["padded", "functions", "doubled"])
@pytest.mark.parametrize("method", ["rueckauer", "ours", "hard-reset"])
def test_graphs_behave_as_networks(make: Callable[[], nn.Module], method: str, images: Tensor, tmp_path: Path) -> None:
    images = images[:, :, :8, :8].contiguous()
    network = convert(warmed(make(), images), [images], method)
    if any(node.op == "max_pool" for node in network.config.nodes):
        refusal(lambda: export(network, IMAGES, tmp_path / "model.nir"), "MaxPool2d", ExportError)
        return
    assert " of 100 steps" in export(network, IMAGES, tmp_path / "model.nir")
    assert read_nir(tmp_path / "model.nir")[1] == pytest.approx(1e-3), "a step of images has no length of its own"


def test_a_bounded_membrane_is_refused(images: Tensor, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="bounds"):
        export(convert(warmed(CifarResNet(1), images), [images], "bounded"), IMAGES, tmp_path / "model.nir")


@pytest.mark.filterwarnings("ignore")  # theirs
def test_spikingjelly_spikes_as_we_do(tmp_path: Path) -> None:
    """It reads our graphs by itself where every neuron is one node: the reset is to zero, at once."""
    exchange = pytest.importorskip("spikingjelly.activation_based.nir_exchange")
    neuron = NeuronConfig(reset="zero", delay=False)
    network = lively(ResNetConfig("plain", (1,), (4,), pool="none", classes=3, neuron=neuron))
    export(network, CARD, tmp_path / "model.nir")
    x_seq = (torch.rand(12, 2, *CONTRACT.shape) < 0.3).float()
    theirs, state = exchange.import_from_nir(nir.read(tmp_path / "model.nir"), dt=0.01), None
    logits = []
    with torch.no_grad():
        for x in x_seq:
            answer, state = theirs(x, state)
            logits.append(answer)
        assert (torch.stack(logits) - network(x_seq)[0]).abs().max() < 1e-4


# --- graphs of others


EVENTS = Contract("events", 2, 6, 5, 10, "count", sensor_width=5, sensor_height=6, bin_us=1000)
RANDOM = torch.Generator().manual_seed(3)


def weights(*shape: int) -> np.ndarray:
    return torch.randn(shape, generator=RANDOM).numpy() * 0.7


def residual(tau: float = 0.02, r: float = 1.0, v_reset: float = 0.0, leak: float = 0.0) -> Any:
    """A convolution, LIF, a second branch summed to it, IF, a pool, and a linear read-out."""
    lif = nir.LIF(*(np.full((4, 6, 5), v) for v in (tau, r, leak, 0.2)), v_reset=np.full((4, 6, 5), v_reset))
    nodes = {
        "input": nir.Input(np.array([2, 6, 5])),
        "conv": nir.Conv2d((6, 5), weights(4, 2, 3, 3), 1, 1, 1, 1, weights(4)),
        "lif": lif,
        "branch": nir.Conv2d((6, 5), weights(4, 4, 3, 3), 1, 1, 1, 1, weights(4)),
        "if": nir.IF(np.full((4, 6, 5), 500.0), np.full((4, 6, 5), 0.9), v_reset=np.zeros((4, 6, 5))),
        "pool": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "flat": nir.Flatten({"input": np.array([4, 3, 2])}, 0, -1),
        "out": nir.Affine(weights(3, 24), weights(3)),
        "output": nir.Output(np.array([3])),
    }
    edges = [("input", "conv"), ("conv", "lif"), ("lif", "branch"), ("lif", "if"), ("branch", "if"), ("if", "pool")]
    return nir.NIRGraph(nodes, [*edges, ("pool", "flat"), ("flat", "out"), ("out", "output")])


@pytest.mark.parametrize("r", [1.0, 3.0, 20.0])
def test_a_residual_graph_spikes_as_it_does(r: float, tmp_path: Path) -> None:
    nir.write(tmp_path / "net.nir", residual(r=r))
    refusal(lambda: import_network(tmp_path / "net.nir", EVENTS), "how long a step is", ExportError)
    network, said = import_network(tmp_path / "net.nir", EVENTS, dt=0.001)
    assert "100 of 100" in said
    _, state = network(example_inputs(EVENTS, 50))
    assert len(state) == 2
    assert all(value.abs().max() > 0 for value in state.values())


def test_what_spikingjelly_exports_spikes_as_there(tmp_path: Path) -> None:
    jelly = pytest.importorskip("spikingjelly.activation_based")
    exchange = pytest.importorskip("spikingjelly.activation_based.nir_exchange")
    layer, neuron = jelly.layer, jelly.neuron
    torch.manual_seed(0)
    theirs = nn.Sequential(
        layer.Conv2d(2, 4, 3, padding=1), neuron.LIFNode(tau=2.5, decay_input=True), layer.AvgPool2d(2),
        layer.Flatten(), layer.Linear(24, 8), neuron.ParametricLIFNode(init_tau=3.0),
        layer.Linear(8, 3), neuron.IFNode(),
    )  # fmt: skip
    x_seq = 9 * example_inputs(EVENTS, 50, 1)
    nir.write(tmp_path / "net.nir", exchange.export_to_nir(theirs, x_seq[0], dt=1e-4))
    network, _ = import_network(tmp_path / "net.nir", EVENTS, dt=1e-4)
    for module in theirs.modules():
        getattr(module, "reset", int)()
    with torch.no_grad():
        expected = torch.stack([theirs(x) for x in x_seq])
    found, _ = network(x_seq)
    assert 0 < float(expected.mean()) < 1
    assert float((found != expected).float().mean()) < 0.01


@pytest.mark.filterwarnings("ignore:nirtorch.extract_nir_graph is being deprecated:DeprecationWarning")
def test_what_snntorch_exports_spikes_as_there(tmp_path: Path) -> None:
    """Its exporter wants arrays of leaks, and says NIR's own reset to zero of every neuron."""
    snn = pytest.importorskip("snntorch")
    exported = pytest.importorskip("snntorch.export_nir").export_to_nir
    torch.manual_seed(2)
    leaky = snn.Leaky(torch.full((9,), 0.9), torch.full((9,), 0.3), reset_mechanism="zero", init_hidden=True)
    nir.write(tmp_path / "net.nir", exported(nn.Sequential(nn.Linear(60, 9), leaky), torch.zeros(60)))
    network, _ = import_network(tmp_path / "net.nir", EVENTS, dt=1e-4)
    x_seq, mem, spikes = 3 * example_inputs(EVENTS, 50, 1), torch.zeros(1, 9), []
    plain = snn.Leaky(0.9, 0.3, reset_mechanism="zero")
    weight, bias = (network.state_dict()[f"layers.n1_0.{key}"] for key in ("weight", "bias"))
    for x in x_seq.flatten(2):
        out, mem = plain(nn.functional.linear(x, weight, bias), mem)
        spikes.append(out)
    found, _ = network(x_seq)
    assert 0 < float(found.mean()) < 1
    assert torch.equal(found, torch.stack(spikes).detach())


@pytest.mark.parametrize(
    ("name", "node", "words"),
    [
        ("out", nir.Affine(np.ones((3, 25)), np.ones(3)), "NIR node out does not fit"),
        ("out", nir.Affine(np.ones((3, 24)), np.ones(4)), "NIR node out does not fit"),
        ("flat", nir.Flatten({"input": np.array([4, 3, 2])}, 7, -1), "layer flat .Flatten. has no counterpart"),
        ("conv", nir.Conv2d((6, 5), np.ones((4, 2, 3, 3)), 1, 1, 1, 3, np.ones(4)), "NIR node conv does not fit"),
        ("flat", nir.Flatten({"input": np.array([4, 3, 2])}, 0, 1), "layer flat .Flatten. has no counterpart"),
        ("pool", nir.SumPool2d(*(np.array([n, n]) for n in (2, 2, 0))), "NIR node pool does not fit: .*SumPool2d"),
        ("lif", nir.CubaLIF(*[np.ones((4, 6, 5))] * 5), "NIR node lif does not fit: .*CubaLIF"),
        ("out", nir.Scale(np.ones(24)), "layer out .Elementwise. has no counterpart"),
    ],
)  # fmt: skip
def test_a_graph_whose_nodes_do_not_fit(name: str, node: Any, words: str, tmp_path: Path) -> None:
    whole = residual()
    nir.write(tmp_path / "net.nir", nir.NIRGraph({**whole.nodes, name: node}, whole.edges, type_check=False))
    refusal(lambda: import_network(tmp_path / "net.nir", EVENTS, dt=0.001), words, ExportError)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"v_reset": -0.1}, "layer lif: its v_reset is not 0"),
        ({"leak": 0.1}, "lif: its rest is not 0"),
        ({"tau": 1e-4}, "lif does not fit: beta must"),
    ],
)
def test_a_neuron_without_a_counterpart(options: dict[str, float], words: str, tmp_path: Path) -> None:
    nir.write(tmp_path / "net.nir", residual(**options))
    refusal(lambda: import_network(tmp_path / "net.nir", EVENTS, dt=0.001), words, ExportError)


def test_circles_files_and_inputs_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.nir"
    export(lively(CONFIG), CARD, path)
    refusal(lambda: import_network(path, CONTRACT), "leads back", ExportError)
    nir.write(path, residual())
    with pytest.raises(ExportError, match=r"takes inputs of \(2, 6, 5\), the contract gives \(2, 17, 13\)"):
        import_network(path, CONTRACT, 0.001)
    path.write_text("dear network")
    refusal(lambda: import_network(path, CONTRACT), r"net\.nir is not a NIR graph", ExportError)


def test_the_command_writes_a_model_that_predicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size, beta = 2 * 34 * 34, 0.9
    fixed = [np.full(4, value) for value in (0.01 / (1 - beta), 1 / (1 - beta), 0.0, 0.5)]
    nodes = [nir.Affine(weights(4, size), np.zeros(4)), nir.LIF(*fixed, v_reset=np.zeros(4))]
    nir.write(tmp_path / "net.nir", nir.NIRGraph.from_list(*nodes))
    to = tmp_path / "mine"
    words = ["import", str(tmp_path / "net.nir"), "--to", str(to), "--labels", "a,b,c,d"]
    assert main(words) == 2, "it does not say how long a step is"
    assert main([*words, "--dt", "0.01"]) == 0
    assert "of 100 steps are those of the network" in capsys.readouterr().out
    _, card = load(to)
    assert (card.labels, card.contract.shape) == (("a", "b", "c", "d"), (2, 34, 34))
    import spikesight

    assert spikesight.load(to).predict(np.empty(0, [("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "?")]), (34, 34)).label
    assert main(["import", str(tmp_path / "none.nir"), "--to", str(tmp_path / "other")]) == 2
    assert not (tmp_path / "other").exists()
