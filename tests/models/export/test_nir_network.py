"""NIR graphs of others, read as networks, and another runtime on ours."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spikesight.models.export.formats import export
from spikesight.models.export.nir_network import LAYERS, NirNetwork, read_nir
from spikesight.models.export.parity import ExportError
from spikesight.models.networks.resnet import ResNetConfig
from spikesight.models.neurons.config import NeuronConfig
from tests.support.exporting import CARD, CONTRACT
from tests.support.models import lively

nir = pytest.importorskip("nir", reason="nir is not installed: pip install 'spikesight[export]'")


def lif(size: int, tau: float, r: float, threshold: float) -> object:
    return nir.LIF(*(np.full(size, v, np.float32) for v in (tau, r, 0.1, threshold, -0.2)))


def test_a_graph_of_others(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    weight, second = generator.normal(size=(6, 4)).astype(np.float32), generator.normal(size=(2, 6)).astype(np.float32)
    bias = generator.normal(size=6).astype(np.float32)
    graph = nir.NIRGraph.from_list(nir.Affine(weight, bias), lif(6, 0.02, 2.0, 0.7), nir.Linear(second))
    nir.write(tmp_path / "other.nir", graph)
    for dt in (None, 0.0, -1.0):
        with pytest.raises(ExportError, match="how long a step is"):
            read_nir(tmp_path / "other.nir", dt)
    x_seq = torch.from_numpy(generator.normal(size=(9, 3, 4)).astype(np.float32))
    found, state = read_nir(tmp_path / "other.nir", dt=0.005)(x_seq)
    v, spikes = np.zeros((3, 6)), []
    for x in x_seq.numpy():
        v = v + 0.005 / 0.02 * (0.1 - v + 2 * (x @ weight.T + bias))
        spikes.append(v > 0.7)
        v = np.where(spikes[-1], -0.2, v)
    assert 0 < np.mean(spikes) < 1
    assert np.abs(found.numpy() - np.stack(spikes) @ second.T).max() < 1e-5
    assert np.abs(state["lif"].numpy() - v).max() < 1e-5


def test_a_recurrent_graph_of_others(tmp_path: Path) -> None:
    nodes = {
        "input": nir.Input(np.array([1])),
        "sum": nir.I(np.ones(1)),
        "held": nir.Delay(np.full(1, 2.0)),
        "back": nir.Scale(np.full(1, -0.5)),
        "output": nir.Output(np.array([1])),
    }
    edges = [("input", "sum"), ("sum", "held"), ("held", "output"), ("sum", "back"), ("back", "sum")]
    nir.write(tmp_path / "loop.nir", nir.NIRGraph(nodes, edges))
    found, _ = read_nir(tmp_path / "loop.nir", dt=1.0)(torch.ones(5, 1, 1))
    assert found.flatten().tolist() == [0, 0, 1, 1.5, 1.75]


@pytest.mark.parametrize(("steps", "good"), [(0, False), (1, True), (1000, True), (1001, False)])
def test_a_delay_is_1_to_1000_steps(steps: int, good: bool) -> None:
    node = SimpleNamespace(delay=np.full(3, steps * 0.25))
    if not good:
        with pytest.raises(ExportError, match="1 to 1000 whole steps"):
            LAYERS["Delay"](node, 0.25)
        return
    layer, held = LAYERS["Delay"](node, 0.25), None
    for number in range(1, steps + 2):
        found, held = layer(torch.full((1, 3), float(number)), held)
        assert found.tolist() == [[float(max(0, number - steps))] * 3]


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    ones, path = np.ones(2), tmp_path / "letter.nir"
    for node, words in (
        (nir.CubaLIF(ones, ones, ones, ones, ones), "CubaLIF, which is none of our layers"),
        (nir.Delay(ones * 0.0015), "whole steps"),
        (nir.Delay(np.array([0.001, 0.002])), "the same for all its signals"),
    ):
        nir.write(path, nir.NIRGraph.from_list(node))
        with pytest.raises(ExportError, match=words):
            read_nir(path, dt=1e-3)
    path.write_text("dear network")
    with pytest.raises(ExportError, match=r"letter\.nir is not a NIR graph"):
        read_nir(path)


def ends(*more: str) -> dict[str, Any]:
    """Nodes of one Input, one Output, and others that do nothing."""
    made = {"in": nir.Input(np.array([2])), "out": nir.Output(np.array([2]))}
    return made | {name: nir.Scale(np.ones(2)) for name in more}


@pytest.mark.parametrize(
    ("nodes", "edges", "words"),
    [
        ({"in": ends()["in"]}, [], "must have one Output node"),
        ({"out": ends()["out"]}, [], "must have one Input node"),
        ({**ends(), "again": ends()["in"]}, [("in", "out")], "must have one Input node"),
        (ends(), [("in", "elsewhere")], "leads to no node"),
        (ends("a"), [("a", "out"), ("in", "in")], "not reached from its input"),
        ({**ends(), "odd": SimpleNamespace()}, [("in", "out")], "odd is of the kind SimpleNamespace"),
    ],
)
def test_a_graph_that_leads_nowhere_is_refused(nodes: dict[str, Any], edges: list[tuple[str, str]], words: str) -> None:
    with pytest.raises(ExportError, match=words):
        NirNetwork(nodes, edges, 1.0)


def test_what_the_input_does_not_reach_adds_nothing() -> None:
    edges = [("in", "a"), ("in", "b"), ("a", "out"), ("b", "out"), ("lost", "out")]
    network = NirNetwork(ends("a", "b", "lost"), edges, 1.0)
    x = torch.rand(3, 1, 2)
    torch.testing.assert_close(network(x)[0], 2 * x)
    assert network.module("lost") is None


def flattened(start: int, end: int) -> Any:
    return SimpleNamespace(start_dim=start, end_dim=end)


WEIGHT, BIAS = (np.random.default_rng(1).normal(size=s).astype(np.float32) for s in ((4, 3, 3, 3), 4))
POOL = np.array([2, 2]), np.array([2, 2]), np.array([0, 0])
CONVOLVE = partial(
    nn.functional.conv2d, weight=torch.from_numpy(WEIGHT), bias=torch.from_numpy(BIAS), dilation=(1, 2), groups=2
)
LIKE: list[tuple[str, Any, Callable[[torch.Tensor], torch.Tensor]]] = [
    ("Flatten", flattened(0, -1), lambda x: x.flatten(1)),  # dimensions are counted without the batch
    ("Flatten", flattened(0, 0), lambda x: x),
    ("Flatten", flattened(-3, -2), lambda x: x.flatten(1, 2)),
    ("AvgPool2d", nir.AvgPool2d(np.array(2), np.array(2), np.array(0)), lambda x: nn.functional.avg_pool2d(x, 2)),
    ("SumPool2d", nir.SumPool2d(*POOL), lambda x: 4 * nn.functional.avg_pool2d(x, 2)),
    ("Conv2d", nir.Conv2d((7, 8), WEIGHT, (2, 1), (2, 1), (1, 2), 2, BIAS),
     partial(CONVOLVE, stride=(2, 1), padding=(2, 1))),
    ("Conv2d", nir.Conv2d((7, 8), WEIGHT, 1, "same", (1, 2), 2, BIAS),
     partial(CONVOLVE, padding="same")),
    ("Linear", SimpleNamespace(weight=np.arange(16).reshape(2, 8)), lambda x: x @ torch.arange(16.0).view(2, 8).T),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "node", "expected"), LIKE)
def test_layers_of_others(kind: str, node: Any, expected: Callable[[torch.Tensor], torch.Tensor]) -> None:
    x = torch.rand(5, 6, 7, 8)
    torch.testing.assert_close(LAYERS[kind](node, 1.0)(x), expected(x))


@pytest.mark.filterwarnings("ignore")  # theirs
def test_spikingjelly_spikes_as_we_do(tmp_path: Path) -> None:
    """It reads our graphs by itself where every neuron is one node: the reset is to zero, at once."""
    exchange = pytest.importorskip("spikingjelly.activation_based.nir_exchange")
    neuron = NeuronConfig(reset="zero", delay=False)
    network = lively(ResNetConfig("plain", (1,), (4,), pool="none", classes=3, neuron=neuron))
    export(network, CARD, "nir", tmp_path / "model.nir")
    x_seq = (torch.rand(12, 2, *CONTRACT.shape) < 0.3).float()
    theirs, state = exchange.import_from_nir(nir.read(tmp_path / "model.nir"), dt=0.01), None
    spikes: list[torch.Tensor] = []
    theirs.get_submodule("neuron").register_forward_hook(lambda _m, _i, out: spikes.append(out[0]))
    logits = []
    with torch.no_grad():
        for x in x_seq:
            answer, state = theirs(x, state)
            logits.append(answer)
        ours, _ = network(x_seq)
        first = network.get_submodule("neuron")(network.stem(x_seq.flatten(0, 1)).unflatten(0, x_seq.shape[:2]), {})
    assert torch.equal(torch.stack(spikes), first)
    assert 0.01 < first.mean() < 0.99
    assert (torch.stack(logits) - ours).abs().max() < 1e-4
