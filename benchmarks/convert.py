"""Simulation of a converted network against SpikingJelly's: milliseconds an image-step, measured side by side.

python -m benchmarks.convert [--images 16] [--steps 16]     needs the extra `dev`
"""

import argparse
import copy
import time
from collections.abc import Callable

import torch
from torch import nn

from models.ann import stage
from models.convert import convert
from models.simulate import chunks


def network() -> nn.Module:
    """A CIFAR ResNet of six blocks with convolutions in its shortcuts, which both converters read; settled norms."""
    torch.manual_seed(0)
    stages = stage(16, 16, 2, 1, "conv"), stage(16, 32, 2, 2, "conv"), stage(32, 64, 2, 2, "conv")
    stem = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
    ann = nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    with torch.no_grad():
        ann.train()(torch.randn(32, 3, 32, 32))
    return ann.eval()


def best(job: Callable[[], object], rounds: int = 3) -> float:
    """The shortest processor time of a few runs, seconds."""
    job()
    times = []
    for _ in range(rounds):
        begin = time.process_time()
        job()
        times.append(time.process_time() - begin)
    return min(times)


def main() -> None:
    """Print the table."""
    from spikingjelly.activation_based import ann2snn, functional

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--steps", type=int, default=16)
    args = parser.parse_args()
    torch.set_num_threads(1)
    ann, x = network(), torch.randn(args.images, 3, 32, 32)
    ours = convert(ann, [x], "rueckauer-max")
    theirs = ann2snn.Converter(ann2snn.RateCodingRecipe(dataloader=[x], mode="Max")).convert(copy.deepcopy(ann))

    @torch.inference_mode()
    def stepwise() -> None:
        functional.reset_net(theirs)
        for _ in range(args.steps):
            theirs(x)

    def mine() -> None:
        for _ in chunks(ours, x, args.steps):
            pass

    scale = 1e3 / (args.images * args.steps)
    a, b = best(stepwise) * scale, best(mine) * scale
    print(f"| network | images | T | SpikingJelly step loop, ms | ours, ms | ratio |\n|{'---|' * 6}")
    print(f"| ResNet, 13 neuron layers | {args.images} | {args.steps} | {a:.2f} | {b:.2f} | {a / b:.2f} |")


if __name__ == "__main__":
    main()
