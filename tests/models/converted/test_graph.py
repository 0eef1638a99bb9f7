"""A converted network's graph: what its document may say, at each of its limits, and what a walk through it keeps."""

import json
from dataclasses import replace
from math import prod
from pathlib import Path

import pytest
import torch

from spikesight.models.checkpoint import load, save
from spikesight.models.contract import CheckpointError
from spikesight.models.networks.converted.graph import MAX_NODES, MAX_WEIGHTS, Node, check_nodes
from spikesight.models.networks.converted.network import ConvertedConfig, ConvertedNetwork
from spikesight.models.networks.converted.rules import SpikeRule
from tests.support.models import card

INPUT = Node("x", "input")
CONV = Node("c", "conv", ("x",), shape=(4, 3, 3, 3), stride=(1, 1), padding=(1, 1))
MAX = Node("m", "max_pool", ("x",), kernel=(2, 2), stride=(2, 2), padding=(0, 0))
AVG = Node("a", "avg_pool", ("x",), kernel=(2, 2), stride=(2, 2), padding=(0, 0))
PAD = Node("p", "pad", ("x",), padding=(0, 0, 0, 0, 1, 1))


@pytest.mark.parametrize(
    ("node", "change", "words"),
    [
        (CONV, {"op": "convolve"}, "unknown operation"),
        (CONV, {"name": "c.1"}, "identifier"),
        (CONV, {"inputs": ()}, "takes 1 inputs"),
        (Node("s", "add", ("x", "y")), {"inputs": ("x",)}, "takes 2 inputs"),
        (CONV, {"shape": (4, 3, 3)}, "4 positive sizes"),
        (CONV, {"shape": ((1 << 20) + 1, 1, 1, 1)}, "4 positive sizes"),
        (Node("n", "neuron", ("x",), shape=(2,)), {"shape": (2, 2)}, "1 positive sizes"),
        (CONV, {"stride": (0, 1)}, "stride must be two numbers of at least 1"),
        (CONV, {"stride": (1, 4097)}, "stride"),
        (CONV, {"padding": (-1, 0)}, "padding must be two numbers of at least 0"),
        (CONV, {"dilation": (1, 0)}, "dilation"),
        (CONV, {"groups": 3}, "groups"),
        (MAX, {"groups": 0}, "groups"),
        (MAX, {"dilation": (0, 1)}, "dilation"),
        (AVG, {"padding": (-1, 0)}, "padding"),
        (Node("g", "global_pool", ("x",), kernel=(1, 1)), {"kernel": (1, 0)}, "kernel"),
        (Node("t", "slice", ("x",), stride=(2, 2)), {"stride": (2, 0)}, "stride"),
        (PAD, {"padding": (1, 1, 1, 1)}, "six sizes"),
        (PAD, {"padding": (0, 0, 0, 0, 0, 8193)}, "six sizes"),
    ],
)
def test_nodes_refuse_what_lies_beyond(node: Node, change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(node, **change)  # type: ignore[arg-type]


def chain(count: int) -> tuple[Node, ...]:
    return INPUT, *(Node(f"f{n}", "flatten", ("x" if n == 1 else f"f{n - 1}",)) for n in range(1, count))


def test_graphs_at_their_limits() -> None:
    check_nodes(chain(2))
    check_nodes(chain(MAX_NODES))
    for count in (1, MAX_NODES + 1):
        with pytest.raises(ValueError, match=f"2 to {MAX_NODES} nodes"):
            check_nodes(chain(count))
    large = Node("l", "linear", ("x",), shape=(1 << 15, 1 << 14))
    check_nodes((INPUT, large, replace(large, name="k")))
    with pytest.raises(ValueError, match="weights"):
        check_nodes((INPUT, large, replace(large, name="k"), replace(large, name="j", shape=(1, 1))))
    assert 2 * prod(large.shape) == MAX_WEIGHTS
    for nodes, words in (
        ((INPUT, CONV, CONV), "two nodes are called c"),
        ((CONV, replace(INPUT, name="y")), "first node"),
        ((INPUT, replace(INPUT, name="y")), "first node"),
        ((INPUT, replace(CONV, inputs=("c",))), "not an earlier node"),
        ((INPUT, replace(CONV, inputs=("m",)), MAX), "c reads m"),
    ):
        with pytest.raises(ValueError, match=words):
            check_nodes(nodes)


@pytest.mark.parametrize(
    "change",
    [
        {"input_shape": (3, 4097, 8)},
        {"input_shape": (3, 8)},
        {"classes": 0},
        {"classes": 1_000_001},
        {"warmup": 1.0},
        {"nodes": (INPUT, Node("n", "neuron", ("x",), shape=(3,)))},
    ],
)
def test_configurations_refuse_nonsense(change: dict[str, object]) -> None:
    good = ConvertedConfig((INPUT, CONV), SpikeRule(), (3, 4096, 1), 1, 0.0)
    replace(good, input_shape=(4096,), classes=1_000_000, warmup=0.99)
    with pytest.raises(ValueError, match=r"input_shape|classes|warmup|weights"):
        replace(good, **change)  # type: ignore[arg-type]


def test_a_still_input_may_be_given_once_for_many_steps_and_nothing_else() -> None:
    nodes = (INPUT, CONV, Node("n", "neuron", ("c",), shape=(4,)), Node("g", "global_pool", ("n",), kernel=(1, 1)),
             Node("f", "flatten", ("g",)))  # fmt: skip
    network = ConvertedNetwork(ConvertedConfig(nodes, SpikeRule(inclusive=True), (3, 8, 8), 4))
    x = torch.randn(1, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    whole, state = network(x, None, 3)
    parts, again = network(x.expand(3, *x.shape[1:]), None)
    assert torch.equal(whole, parts)
    assert whole.shape == (3, 2, 4)
    assert state.keys() == again.keys()
    assert all(torch.equal(state[key], again[key]) for key in state)
    assert torch.equal(network(x, None, 1)[0], whole[:1])
    three = x.expand(3, *x.shape[1:])
    for bad, steps in ((three, 3), (three, 1), (x[..., :7], None), (x[0], None)):
        with pytest.raises(ValueError, match="x_seq must be"):
            network(bad, None, steps)


def test_untrusted_graphs_are_refused(tmp_path: Path) -> None:
    config = ConvertedConfig((INPUT, CONV, Node("g", "flatten", ("c",))), SpikeRule(), (3, 12, 12), 10)
    save(tmp_path, ConvertedNetwork(config), card())
    load(tmp_path)
    document = json.loads((tmp_path / "config.json").read_text())
    for change in ({"op": "import os"}, {"inputs": ["later"]}, {"shape": [1 << 20, 1 << 20, 3, 3]}, {"more": 1}):
        broken = json.loads(json.dumps(document))
        broken["network"]["nodes"][1] |= change
        (tmp_path / "config.json").write_text(json.dumps(broken))
        with pytest.raises(CheckpointError):
            load(tmp_path)
