"""One training step of SEW ResNet-18 (CIFAR shape): ours against SpikingJelly and an ANN on the same T x N images.

    python -m benchmarks.training [--steps 4] [--batch 8] [--rounds 3]

A step is forward, cross-entropy, backward and SGD with momentum. The ANN has the same convolutions and norms, with ReLU
in place of the neurons. SpikingJelly runs its own sew_resnet18 with a 3 x 3 stem, multi-step, with the same dynamics.
"""

import logging
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.common import report
from benchmarks.common.timing import paired, print_machine, print_table
from spikesight.models.engine.engine import engine_status
from spikesight.models.networks.resnet import NETWORKS, SpikingResNet
from spikesight.models.neurons.config import NeuronConfig
from spikesight.models.neurons.layers import Neuron
from spikesight.models.neurons.state import State
from spikesight.training.config import TrainConfig
from spikesight.training.run.loop import Trainee

LIF = NeuronConfig(reset="zero", delay=False, inclusive=True, scale_input=True)
Step = Callable[[], object]


class Rectifier(Neuron):
    """ReLU in place of a neuron layer, which turns the network into an ANN."""

    def forward(self, x_seq: Tensor, state: State) -> Tensor:  # noqa: ARG002
        return x_seq.relu()


def network(ann: bool = False) -> SpikingResNet:
    torch.manual_seed(0)
    net = SpikingResNet(replace(NETWORKS["cifar-resnet18"], neuron=LIF))
    if ann:
        for module in net.modules():
            if type(module) is Neuron:
                module.__class__ = Rectifier
    return net.train()


def our_step(net: SpikingResNet, x_seq: Tensor, labels: Tensor, **options: Any) -> Step:
    """Return a function that runs one training step as the training loop does."""
    config = TrainConfig(loss="mean", **options)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    trainee = Trainee(net, config, x_seq.device)
    optimiser = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(trainee(x_seq, {}).logits.float().mean(0), labels).backward()
        optimiser.step()

    return step


def spikingjelly_step(x_seq: Tensor, labels: Tensor) -> Step:
    from spikingjelly.activation_based import functional, layer, neuron, surrogate
    from spikingjelly.activation_based.model import sew_resnet

    torch.manual_seed(0)
    net: Any = sew_resnet.sew_resnet18(
        pretrained=False, cnf="ADD", spiking_neuron=neuron.LIFNode, tau=2.0, detach_reset=True,
        surrogate_function=surrogate.ATan(), num_classes=10,
    )  # fmt: skip
    net.conv1 = layer.Conv2d(3, 64, 3, padding=1, bias=False)
    net.maxpool = nn.Identity()
    functional.set_step_mode(net, "m")
    net.to(x_seq.device).train()
    optimiser = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9)

    def step() -> None:
        functional.reset_net(net)
        optimiser.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(net(x_seq).mean(0), labels).backward()
        optimiser.step()

    return step


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    print_machine(engine_status())
    x_seq = torch.rand(1, args.batch, 3, 32, 32).expand(args.steps, -1, -1, -1, -1).contiguous()
    labels = torch.arange(args.batch) % 10
    variants: dict[str, Step] = {
        "ANN on the same images": our_step(network(ann=True), x_seq, labels),
        "ours": our_step(network(), x_seq, labels),
    }
    if find_spec("spikingjelly"):
        variants["SpikingJelly multi-step"] = spikingjelly_step(x_seq, labels)
    variants["ours, bf16"] = our_step(network(), x_seq, labels, precision="bf16")
    timings = paired(variants, "ANN on the same images", args.rounds)
    shape = f"T = {args.steps}, {args.batch} x 3 x 32 x 32"
    print_table(f"training step, SEW ResNet-18, {shape}", timings, "ANN on the same images")
    report.write("training", args.json)


if __name__ == "__main__":
    main()
