"""A training step with event-driven convolutions (`train-dvs --sparse-convs`) against the dense ones, by firing rate.

    python -m benchmarks.event_convolutions [--networks cifar-ms-resnet18 cifar-resnet18] [--rates 5 10 20]
        [--batch 16] [--rounds 3] [--no-shipped]

Networks have random weights, inputs of 3x32x32 at T = 4, and fire at the stated rate in every neuron layer, per cent.
The shipped digit model runs on its sample recordings (T = 10, batch of 64) and fires as it was trained to.
"""

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from benchmarks.common import report
from benchmarks.common.rates import at_rate
from benchmarks.common.timing import begin, paired, print_table
from benchmarks.engine import read_samples, read_windows
from benchmarks.training import LIF, our_step
from spikesight.models.checkpoint import load
from spikesight.models.engine.engine import engine_status
from spikesight.models.networks.event_convolution import use_event_convolutions
from spikesight.models.networks.resnet import NETWORKS, SpikingResNet
from spikesight.models.neurons.layers import watching
from spikesight.models.shipped import find

BASE = "fp32"
VARIANTS: dict[str, dict[str, object]] = {BASE: {}, "bf16": {"precision": "bf16"}}


def print_densities(network: nn.Module, x_seq: Tensor) -> None:
    """Print the input density of each convolution."""
    met: dict[str, float] = {}

    def note(name: str, _: nn.Module, x: Tensor, __: Tensor) -> None:
        met[name] = int(x.count_nonzero()) / x.numel()

    with torch.no_grad(), watching(network, nn.Conv2d, note):
        network(x_seq, {})
    print("density a convolution: " + ", ".join(f"{name.removesuffix('.0')} {d:.3f}" for name, d in met.items()))


def bench(title: str, network: SpikingResNet, x_seq: Tensor, rounds: int) -> None:
    """Time a training step with dense and with event-driven convolutions, channels last."""
    labels = torch.arange(x_seq.shape[1]) % network.config.classes
    sparse = copy.deepcopy(network)
    use_event_convolutions(sparse)
    variants = {}
    for name, options in VARIANTS.items():
        variants[name] = our_step(copy.deepcopy(network), x_seq, labels, **options)
        variants[f"{name}, event convolutions"] = our_step(copy.deepcopy(sparse), x_seq, labels, **options)
    print_table(title, paired(variants, BASE, rounds), BASE)
    print_densities(network, x_seq)


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--networks", nargs="*", default=["cifar-ms-resnet18", "cifar-resnet18"])
    parser.add_argument("--rates", nargs="+", type=float, default=[5, 10, 20])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-shipped", action="store_true", help="without the shipped digit model")
    args = parser.parse_args()
    begin(engine_status())
    for name in args.networks:
        for rate in args.rates:
            torch.manual_seed(0)
            x_seq = torch.rand(1, args.batch, 3, 32, 32).expand(4, -1, -1, -1, -1).contiguous()
            network = SpikingResNet(replace(NETWORKS[name], neuron=LIF))
            at_rate(network, x_seq, rate / 100)
            bench(f"training step, {name}, T = 4, neurons fire at {rate:g} %", network.train(), x_seq, args.rounds)
    if not args.no_shipped:
        network, card = load(find("nmnist"))
        assert isinstance(network, SpikingResNet)
        x_seq = read_windows(card, read_samples(card), 64).float()
        bench("training step, the shipped digit model", network.train().requires_grad_(), x_seq, args.rounds)
    report.write("event_convolutions", args.json)


if __name__ == "__main__":
    main()
