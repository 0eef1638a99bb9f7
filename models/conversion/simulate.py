"""Run a converted network over time, in chunks that carry the membranes on, and read the answer at every T from one
run.

The answer at T is the mean of the logits over the first T steps, or over the last part of them if the network warms up
(`ConvertedConfig.warmup`). Results do not depend on the chunk size, and memory is bounded by a chunk of one batch. The
event-driven engine runs the networks that it supports; it sums in another order, so a potential within rounding of its
threshold may fire a step earlier or later.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from spikesight.models.engine.engine import Engine, can_run
from spikesight.models.networks.converted.network import ConvertedNetwork
from spikesight.models.neurons.state import State

BUDGET = 64  # images times steps in a chunk of the PyTorch network: activations stay in the last-level cache
ENGINE_STEPS = 256  # steps in a chunk of the engine, which keeps only logits

Run = Callable[[Tensor, State | None, int], tuple[Tensor, State]]


def runner(network: ConvertedNetwork) -> Run:
    """Return a function (images [N, ...], state, steps) -> (logits [T, N, K], state), on the engine if possible."""
    if not can_run(network):
        return lambda images, state, steps: network(images[None], state, steps)
    engine = Engine(network, *network.config.input_shape[1:])

    def run(images: Tensor, state: State | None, steps: int) -> tuple[Tensor, State]:
        result = engine.run(images[None].expand(steps, *images.shape), state)
        return result.logits, result.state

    return run


def chunks(
    network: ConvertedNetwork, images: Tensor, steps: int, chunk: int | None = None, run: Run | None = None
) -> Iterator[Tensor]:
    """Yield the answers (mean logits) [t, N, K] at every T of each chunk of steps.

    `run`: the network's `runner`, to be passed by callers that call this often.
    """
    run = run or runner(network)
    if chunk is None:
        chunk = ENGINE_STEPS if can_run(network) else max(1, BUDGET // max(1, len(images)))
    state: State | None = None
    sums = torch.zeros(steps + 1, len(images), network.config.classes, dtype=torch.float64)  # over the first t steps
    for start in range(0, steps, chunk):
        logits, state = run(images, state, min(chunk, steps - start))
        ends = range(start + 1, start + len(logits) + 1)
        sums[ends.start : ends.stop] = sums[start] + logits.double().cumsum(0)
        begins = [network.config.first_step(t) for t in ends]
        counts = torch.tensor([t - first for t, first in zip(ends, begins)]).view(-1, 1, 1)
        yield (sums[ends.start : ends.stop] - sums[begins]) / counts


def shown_steps(longest: int) -> list[int]:
    """Return the T at which a table lists accuracy: the powers of two up to the longest T, and the longest T."""
    return sorted({*(2**k for k in range(longest.bit_length())), longest})


class Curve(NamedTuple):
    """Accuracy at every T of one run."""

    correct: np.ndarray  # int64 [T]: number of images classified correctly after t + 1 steps
    images: int

    def accuracy(self, steps: int) -> float:
        """Return the accuracy in per cent at T = steps."""
        return 100 * float(self.correct[steps - 1]) / self.images


@torch.no_grad()
def curve(
    network: ConvertedNetwork,
    images: Tensor,
    labels: Tensor,
    steps: int,
    *,
    batch: int = 32,
    chunk: int | None = None,
) -> Curve:
    """Measure accuracy at T = 1 ... steps on images [N, C, H, W] with labels [N]."""
    correct = np.zeros(steps, np.int64)
    run = runner(network)
    for begin in range(0, len(images), batch):
        x, y = images[begin : begin + batch], labels[begin : begin + batch]
        done = 0
        for answers in chunks(network, x, steps, chunk, run):
            correct[done : done + len(answers)] += (answers.argmax(2) == y).sum(1).numpy()
            done += len(answers)
    return Curve(correct, len(images))


def predictions(network: ConvertedNetwork, images: Tensor, steps: int, batch: int = 32) -> Tensor:
    """Return the mean logits [N, K] at T = steps."""
    found, run = [], runner(network)
    for begin in range(0, len(images), batch):
        *_, answers = chunks(network, images[begin : begin + batch], steps, run=run)
        found.append(answers[-1])
    return torch.cat(found)
