"""Simulation of a converted network against SpikingJelly's: milliseconds a time step of an image, side by side.

    python -m benchmarks.convert [--images 1 8] [--steps 32] [--rounds 5]     needs the extra `dev`

The network is a CIFAR ResNet with random weights and batch norms fitted to images. Its shortcuts have convolutions,
which both converters support. Both use the 99.9 percentile and give the same spikes for the same still images.
SpikingJelly runs step by step, its default, and with all steps in one batch.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.common import report
from benchmarks.common.networks import spikingjelly_converted
from benchmarks.common.timing import begin, paired, print_table
from spikesight.models.conversion.ann_to_snn import convert
from spikesight.models.conversion.simulate import BUDGET, chunks
from spikesight.models.engine.engine import Engine, engine_status
from spikesight.models.networks.ann import stage

BASE = "SpikingJelly step loop"


def network(images: Tensor) -> nn.Module:
    """Build a ResNet of six blocks (13 activations) with batch norm statistics of the images [N, 3, 32, 32]."""
    torch.manual_seed(0)
    stages = stage(16, 16, 2, 1, "conv"), stage(16, 32, 2, 2, "conv"), stage(32, 64, 2, 2, "conv")
    stem = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
    ann = nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    for module in ann.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        ann.train()(images)
    return ann.eval()


def bench(count: int, steps: int, rounds: int) -> None:
    """Print the table for `count` images at a time."""
    x = torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    calibration = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    ann = network(calibration)
    ours = convert(ann, [calibration], "rueckauer", steps=steps)
    engine, x_seq = Engine(ours, 32, 32), x.expand(steps, *x.shape)

    def plain() -> None:  # in chunks, as networks run without the engine
        for _ in chunks(ours, x, steps, max(1, BUDGET // count), lambda images, state, t: ours(images[None], state, t)):
            pass

    variants: dict[str, Callable[[], Any]] = {
        **spikingjelly_converted(ann, calibration, x_seq),
        "ours, PyTorch and compiled neurons": plain,
        "ours, engine": lambda: engine.run(x_seq),
    }
    timings = paired(variants, BASE, rounds)
    title = f"Converted ResNet, 13 neuron layers, {count} image(s), T = {steps}: an image-step"
    print_table(title, timings, BASE, per=count * steps)
    fired = engine.run(x_seq).layer_spikes.sum() / (count * steps * engine.state_size)
    print(f"neurons fire at {float(fired):.1%}")


def main() -> None:
    """Print the tables."""
    parser = report.parser(__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[1, 8], help="images at a time, one table each")
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    begin(engine_status())
    for count in args.images:
        bench(count, args.steps, args.rounds)
    report.write("convert", args.json)


if __name__ == "__main__":
    main()
