"""Networks of other libraries as ours: the same spikes as there, and what has no counterpart refused by its name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from spikesight.app.cli import main
from spikesight.models.checkpoint import load
from spikesight.models.contract import Contract
from spikesight.models.export.importing import import_network
from spikesight.models.export.parity import ExportError, example_inputs

nir = pytest.importorskip("nir", reason="nir is not installed: pip install 'spikesight[export]'")
snn = pytest.importorskip("snntorch")
EVENTS = Contract("events", 2, 6, 5, 10, "count", sensor_width=5, sensor_height=6, bin_us=1000)
RANDOM = torch.Generator().manual_seed(3)


def lif(
    *shape: int, tau: float = 0.02, r: float = 1.0, theta: float = 0.2, v_reset: float = 0.0, leak: float = 0.0
) -> Any:
    return nir.LIF(*(np.full(shape, v) for v in (tau, r, leak, theta)), v_reset=np.full(shape, v_reset))


def weights(*shape: int) -> np.ndarray:
    return torch.randn(shape, generator=RANDOM).numpy() * 0.7


def residual(**options: float) -> Any:
    """A convolution, LIF, a second branch summed to it, IF, a pool, and a linear read-out."""
    nodes = {
        "input": nir.Input(np.array([2, 6, 5])),
        "conv": nir.Conv2d((6, 5), weights(4, 2, 3, 3), 1, 1, 1, 1, weights(4)),
        "lif": lif(4, 6, 5, **options),
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
def test_a_residual_nir_graph_spikes_as_it_does(r: float, tmp_path: Path) -> None:
    nir.write(tmp_path / "net.nir", residual(r=r))
    network, parity = import_network(tmp_path / "net.nir", EVENTS, dt=0.001)
    assert parity.steps == 50
    assert parity.logits < 1e-4
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
    network, parity = import_network(tmp_path / "net.nir", EVENTS, dt=1e-4)
    for module in theirs.modules():
        getattr(module, "reset", int)()
    with torch.no_grad():
        expected = torch.stack([theirs(x) for x in x_seq])
    found, _ = network(x_seq)
    assert 0 < float(expected.mean()) < 1
    assert float((found != expected).float().mean()) <= parity.ties / parity.membranes


def mlp(reset: str, **options: Any) -> nn.Sequential:
    torch.manual_seed(1)
    first, second = (snn.Leaky(beta=beta, threshold=0.3, reset_mechanism=reset, **options) for beta in (0.8, 0.95))
    return nn.Sequential(nn.Linear(60, 16), first, nn.Linear(16, 4, bias=False), second)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_snntorchs_weights_spike_as_there(reset: str, suffix: str, tmp_path: Path) -> None:
    theirs, path = mlp(reset), tmp_path / f"net.{suffix}"
    save_file(theirs.state_dict(), path) if suffix == "safetensors" else torch.save(theirs.state_dict(), path)
    network, parity = import_network(path, EVENTS)
    x_seq, mem = 3 * example_inputs(EVENTS, 50, 1), [torch.zeros(1, 16), torch.zeros(1, 4)]
    spikes: list[Tensor] = []
    with torch.no_grad():
        for x in x_seq.flatten(2):
            hidden, mem[0] = theirs[1](theirs[0](x), mem[0])
            out, mem[1] = theirs[3](theirs[2](hidden), mem[1])
            spikes.append(out)
    found, state = network(x_seq)
    assert 0 < float(found.mean()) < 1
    assert torch.equal(found, torch.stack(spikes))
    assert torch.allclose(state["layers.n4_3"], mem[1], atol=1e-5)
    assert (parity.steps, parity.ties) == (50, 0)


@pytest.mark.filterwarnings("ignore:nirtorch.extract_nir_graph is being deprecated:DeprecationWarning")
def test_what_snntorch_exports_spikes_as_there(tmp_path: Path) -> None:
    """Its exporter wants arrays of leaks, and says NIR's own reset to zero of every neuron."""
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


def with_bn() -> nn.Module:
    return nn.Sequential(nn.Linear(60, 4), nn.BatchNorm1d(4), snn.Leaky(beta=0.9))


def with_different_leaks() -> nn.Module:
    return nn.Sequential(nn.Linear(60, 4), snn.Leaky(beta=torch.tensor([0.9, 0.8, 0.7, 0.6])))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: nn.Sequential(nn.Conv2d(2, 4, 3), snn.Leaky(beta=0.9)),
            "layer 0 .weight, bias.: a state dictionary tells",
        ),
        (with_bn, "layer 1 .weight, bias, running_mean"),
        (with_different_leaks, "layer 1: its neurons differ in beta"),
        (lambda: mlp("none"), "layer 1 has graded spikes or no reset"),
        (lambda: nn.Sequential(nn.Linear(60, 4), snn.Synaptic(alpha=0.9, beta=0.8)), "layer 1"),
        (lambda: nn.Sequential(nn.Linear(60, 4), nn.Linear(5, 4), snn.Leaky(0.9)), "layer 1 takes 5 inputs, not 4"),
        (lambda: nn.Sequential(nn.Linear(60, 4), nn.ReLU(), nn.Linear(4, 4), snn.Leaky(0.9)), "layer 1 has nothing in"),
        (lambda: nn.ModuleDict({"fc": nn.Linear(60, 4), "out": nn.Linear(4, 3)}), "no neuron has anything in"),
        (lambda: nn.Sequential(nn.Linear(10, 4), snn.Leaky(beta=0.9)), "it takes inputs of .10,., the contract gives"),
    ],
)
def test_a_state_dictionary_that_does_not_say_all(make: Callable[[], nn.Module], words: str, tmp_path: Path) -> None:
    torch.save(make().state_dict(), tmp_path / "net.pt")
    with pytest.raises(ExportError, match=words):
        import_network(tmp_path / "net.pt", EVENTS)


LEAKY = {f"1.{key}": value for key, value in snn.Leaky(beta=0.9).state_dict().items()}
WEIGHT = {"0.weight": torch.ones(4, 60)}


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({}, "no neuron has anything"),
        (LEAKY | {"0.bias": torch.zeros(4)}, r"layer 0 \(bias\)"),
        (LEAKY | WEIGHT | {"1.beta": torch.zeros(0)}, "layer 1: its neurons differ in beta"),
        (LEAKY | WEIGHT | {"0.bias": torch.zeros(5)}, r"size mismatch for layers\.n1_0\.bias"),
    ],
)
def test_tensors_that_make_no_network(tensors: dict[str, Tensor], words: str, tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "net.safetensors")
    with pytest.raises(ExportError, match=words):
        import_network(tmp_path / "net.safetensors", EVENTS)


@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("out", nir.Affine(np.ones((3, 25)), np.ones(3))),
        ("out", nir.Affine(np.ones((3, 24)), np.ones(4))),
        ("flat", nir.Flatten({"input": np.array([4, 3, 2])}, 7, -1)),
        ("conv", nir.Conv2d((6, 5), np.ones((4, 2, 3, 3)), 1, 1, 1, 3, np.ones(4))),
        ("input", nir.Input(np.array([-2, 6, 5]))),
    ],
)
def test_a_nir_graph_whose_nodes_do_not_fit(name: str, node: Any, tmp_path: Path) -> None:
    whole = residual()
    nir.write(tmp_path / "net.nir", nir.NIRGraph({**whole.nodes, name: node}, whole.edges, type_check=False))
    with pytest.raises(ExportError, match=f"NIR node {name} does not fit"):
        import_network(tmp_path / "net.nir", EVENTS, dt=0.001)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"v_reset": -0.1}, "layer lif: its v_reset is not 0"),
        ({"leak": 0.1}, "lif: its rest is not 0"),
        ({"tau": 1e-4}, "lif: beta must"),
    ],
)
def test_a_nir_graph_without_a_counterpart(options: dict[str, float], words: str, tmp_path: Path) -> None:
    nir.write(tmp_path / "net.nir", residual(**options))
    with pytest.raises(ExportError, match=f"not imported: .*{words}"):
        import_network(tmp_path / "net.nir", EVENTS, dt=0.001)


def test_the_command_writes_a_model_that_predicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = nn.Sequential(nn.Linear(2 * 34 * 34, 4), snn.Leaky(beta=0.9, threshold=0.5))
    torch.save(model.state_dict(), tmp_path / "net.pt")
    to = tmp_path / "mine"
    assert main(["import", str(tmp_path / "net.pt"), "--to", str(to), "--labels", "a,b,c,d"]) == 0
    assert "over 50 steps the logits differ by at most" in capsys.readouterr().out
    network, card = load(to)
    assert (card.labels, card.contract.shape) == (("a", "b", "c", "d"), (2, 34, 34))
    assert torch.equal(network.state_dict()["layers.n1_0.weight"], model.state_dict()["0.weight"])
    import spikesight

    assert spikesight.load(to).predict(np.empty(0, [("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "?")]), (34, 34)).label
    assert main(["import", str(tmp_path / "none.nir"), "--to", str(tmp_path / "other")]) == 2
    assert not (tmp_path / "other").exists()
