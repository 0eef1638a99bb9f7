"""Which graphs of converted networks the engine runs: each form it knows, and each that is left to PyTorch by name."""

from dataclasses import replace

import pytest
import torch

from spikesight.models.engine.engine import engine_status
from spikesight.models.engine.plan_converted import unplanned
from spikesight.models.native.build import library
from spikesight.models.networks.converted.graph import Node
from spikesight.models.networks.converted.network import ConvertedConfig, ConvertedNetwork
from spikesight.models.networks.converted.neurons import SpikeLayer
from spikesight.models.networks.converted.rules import SpikeRule
from tests.support.networks import assert_equal_to_network

IF = SpikeRule()
native = pytest.mark.skipif(library() is None, reason=engine_status())


def conv(name: str, source: str, out: int = 6, inner: int = 6, kernel: int = 3, **changes: object) -> Node:
    fields = {"stride": (1, 1), "padding": (kernel // 2, kernel // 2), **changes}
    return Node(name, "conv", (source,), shape=(out, inner, kernel, kernel), **fields)  # type: ignore[arg-type]


def neuron(name: str, source: str, channels: int = 6) -> Node:
    return Node(name, "neuron", (source,), shape=(channels,))


def pool(name: str, source: str, **changes: object) -> Node:
    fields: dict = {"kernel": (3, 3), "stride": (2, 2), "padding": (1, 1), **changes}
    return Node(name, "max_pool", (source,), **fields)


STEM = conv("stem", "x", 6, 3), neuron("n0", "stem")


def graph(*body: Node, last: str = "n1", channels: int = 6, rule: SpikeRule = IF) -> ConvertedNetwork:
    """The input, some nodes, and a read-out of the last one's mean."""
    end = (
        Node("g", "global_pool", (last,), kernel=(1, 1)),
        Node("f", "flatten", ("g",)),
        Node("l", "linear", ("f",), shape=(5, channels)),
    )
    return made((Node("x", "input"), *body, *end), rule)


def made(nodes: tuple[Node, ...], rule: SpikeRule = IF, shape: tuple[int, ...] = (3, 11, 11)) -> ConvertedNetwork:
    """Numbers that make neurons fire and channels differ."""
    generator = torch.Generator().manual_seed(3)
    network = ConvertedNetwork(ConvertedConfig(nodes, rule, shape, 5))
    for module in network.layers.values():
        for tensor in module.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) / max(1, tensor[0].numel()) ** 0.5)
        if isinstance(module, SpikeLayer):
            module.theta.copy_(torch.rand(module.theta.shape, generator=generator) + 0.5)
            module.amplitude.copy_(module.theta)
    return network


ADD = Node("s", "add", ("c1", "n0"))
KNOWN: dict[str, ConvertedNetwork] = {
    "a stem": graph(*STEM, last="n0"),
    "strides": graph(*STEM, conv("c1", "n0", stride=(2, 2)), neuron("n1", "c1")),
    "a kernel of one": graph(*STEM, conv("c1", "n0", kernel=1), neuron("n1", "c1")),
    "a pooled stem": graph(conv("stem", "x", 6, 3), pool("m", "stem"), neuron("n1", "m")),
    "an identity": graph(*STEM, conv("c1", "n0"), ADD, neuron("n1", "s")),
    "an identity first": graph(*STEM, conv("c1", "n0"), replace(ADD, inputs=("n0", "c1")), neuron("n1", "s")),
    "a strided and padded identity": graph(
        *STEM, conv("c1", "n0", 10, stride=(2, 2)), Node("t", "slice", ("n0",), stride=(2, 2)),
        Node("p", "pad", ("t",), padding=(0, 0, 0, 0, 3, 1)), replace(ADD, inputs=("c1", "p")), neuron("n1", "s", 10),
        channels=10,
    ),
    "two convolutions": graph(
        *STEM, conv("c1", "n0", stride=(2, 2)), conv("c2", "n0", kernel=1, stride=(2, 2)),
        replace(ADD, inputs=("c2", "c1")), neuron("n1", "s"),
    ),
    "inclusive": graph(*STEM, conv("c1", "n0"), ADD, neuron("n1", "s"), rule=SpikeRule(0.0, inclusive=True)),
    "bounded": graph(*STEM, conv("c1", "n0"), ADD, neuron("n1", "s"), rule=replace(IF, bounds=(-0.5, 1.0))),
}  # fmt: skip


@native
@pytest.mark.parametrize("name", KNOWN)
def test_what_is_planned_equals_the_network(name: str) -> None:
    network = KNOWN[name]
    assert unplanned(network) == ""
    x = torch.randn(1, 2, 3, 11, 11, generator=torch.Generator().manual_seed(1)).expand(6, -1, -1, -1, -1)
    assert_equal_to_network(network, x)


def behind(*body: Node, last: str = "n1", **named: object) -> ConvertedNetwork:
    return graph(*STEM, *body, last=last, **named)  # type: ignore[arg-type]


WIDE = Node("w", "conv", ("n0",), shape=(6, 6, 3, 1), stride=(1, 1), padding=(1, 0))
UNKNOWN: dict[str, ConvertedNetwork] = {
    "reset to zero": graph(*STEM, last="n0", rule=SpikeRule(reset="zero")),
    "inputs that are no images": made(
        (Node("x", "input"), Node("c", "linear", ("x",), shape=(6, 4)), neuron("n0", "c"),
         Node("l", "linear", ("n0",), shape=(5, 6))), shape=(4,),
    ),
    "the engine's read-out": made((Node("x", "input"), *STEM)),
    "n1: neuron": behind(neuron("n1", "n0")),
    "w: conv": behind(WIDE, neuron("n1", "w")),
    "c: conv": behind(conv("c", "n0", padding=(2, 2), dilation=(2, 2)), neuron("n1", "c")),
    "e: conv": behind(conv("c1", "n0"), conv("e", "c1"), neuron("n1", "e")),
    "h: conv": behind(Node("t", "slice", ("n0",), stride=(2, 2)), conv("h", "t"), neuron("n1", "h")),
    "m1: max_pool": behind(pool("m1", "n0"), conv("c1", "m1"), neuron("n1", "c1")),
    "m2: max_pool": behind(conv("c1", "n0"), pool("m2", "c1"), neuron("n1", "m2")),
    "g: global_pool": behind(Node("t", "slice", ("n0",), stride=(2, 2)), last="t"),
    "v: avg_pool": behind(
        Node("v", "avg_pool", ("n0",), kernel=(2, 2), stride=(2, 2), padding=(0, 0)), conv("c1", "v"),
        neuron("n1", "c1"),
    ),
    "s3: add": behind(conv("c1", "n0"), ADD, Node("s3", "add", ("s", "n0")), neuron("n1", "s3")),
    "s4: add": behind(Node("s4", "add", ("n0", "n0")), neuron("n1", "s4")),
}  # fmt: skip


@pytest.mark.parametrize("words", UNKNOWN)
def test_what_is_not_planned_is_named(words: str) -> None:
    assert words in unplanned(UNKNOWN[words])
