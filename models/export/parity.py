"""Check that a written file computes the same as the network: 50 steps side by side, each with its own state."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikesight.models.contract import Contract
from spikesight.models.neurons.layers import Neuron
from spikesight.models.neurons.state import State, zero_state

PARITY_STEPS, STREAMS = 50, 2
TOLERANCE = 1e-3  # of membranes and logits; a differing spike moves a membrane by much more, its threshold
TIES = 1e-3  # share of a layer's neurons that may fire on one side alone
Runner = Callable[[Tensor, State], tuple[Tensor, State]]  # (x_seq [T, N, C, H, W], state) -> (logits [T, N, K], state)


class ExportError(ValueError):
    """An export or import that is impossible or would change the network; the message is one sentence."""


@dataclass(frozen=True)
class Parity:
    """The result of a comparison."""

    steps: int
    logits: float  # largest difference of a logit
    ties: int  # neurons that fired on one side alone, summed over the comparisons
    membranes: int  # membranes compared

    def __str__(self) -> str:
        return (
            f"over {self.steps} steps the logits differ by at most {self.logits:.1e}, "
            f"{self.ties} of {self.membranes} membranes by a threshold tie"
        )


def import_extra(name: str) -> Any:
    """Import a module of the export extra. Raises ExportError, which says how to install it."""
    try:
        return import_module(name)
    except ImportError:
        raise ExportError(f"{name} is missing: pip install 'spikesight[export]'") from None


def example_inputs(contract: Contract, steps: int, streams: int = STREAMS) -> Tensor:
    """Return seeded inputs of the contract's kind, float32 [T, N, C, H, W]: 5 % events, or normal pixels."""
    generator = torch.Generator().manual_seed(0)
    shape = (steps, streams, contract.channels, contract.height, contract.width)
    if contract.kind == "events":
        return (torch.rand(shape, generator=generator) < 0.05).float()
    return torch.randn(shape, generator=generator)


def start_state(network: nn.Module, contract: Contract, streams: int = STREAMS) -> State:
    """Return the state before the first step."""
    return zero_state(network, contract.channels, contract.height, contract.width, streams)


def potentials(network: nn.Module, state: State) -> State:
    """Return the state with every membrane as after its reset, so that this step's spikes show in their own layer."""
    after = dict(state)
    for layer in network.modules():
        if type(layer) is Neuron and layer.config.delay and layer.span == 1 and layer.key in state:
            u, config = state[layer.key], layer.config
            fired = u >= config.theta if config.inclusive else u > config.theta
            after[layer.key] = u - config.theta * fired if config.reset == "subtract" else u * ~fired
    return after


@torch.no_grad()
def check_parity(network: nn.Module, run: Runner, contract: Contract) -> Parity:
    """Compare over 50 steps, each side with its own state.

    A potential within rounding of its threshold may fire on one side only. Such a tie changes all later layers, so only
    the first layer in which a stream differs is judged; after a tie, the stream continues from our state. Raises
    ExportError, which names the first layer whose membranes differ by more than a few ties.
    """
    ours = theirs = start_state(network, contract)
    gap, ties, membranes = 0.0, 0, 0
    for number, x_seq in enumerate(example_inputs(contract, PARITY_STEPS).split(1), 1):
        logits, ours = network(x_seq, ours)
        other, theirs = run(x_seq, theirs)
        shown = potentials(network, theirs)
        tied = torch.zeros(STREAMS, dtype=torch.bool)
        for key, expected in potentials(network, ours).items():
            near = (expected - shown[key]).abs() <= TOLERANCE  # NaN is not
            different = (~near).reshape(STREAMS, -1).sum(1)
            judged = different * ~tied
            if int(judged.max()) > 1 + TIES * expected[0].numel():
                raise ExportError(f"not exported: after step {number}, {int(judged.max())} neurons of {key} differ")
            ties, membranes = ties + int(judged.sum()), membranes + expected.numel()
            tied |= different > 0
        gaps = (logits - other).abs().amax((0, 2)).masked_fill(tied, 0)
        gap = max(float(gaps.max()), gap)
        if not gap <= TOLERANCE:
            raise ExportError(f"not exported: by step {number} the logits of the read-out differ by {gap:.1e}")
        theirs = joined(tied, ours, theirs)
    return Parity(PARITY_STEPS, gap, ties, membranes)


def joined(mask: Tensor, left: State, right: State) -> State:
    """Merge states: the streams of `left` where the mask [N] is set, else those of `right`."""
    if not mask.any():
        return right
    return {key: torch.where(mask.view(-1, *[1] * (value.ndim - 1)), left[key], value) for key, value in right.items()}


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `folder`, which is new or empty, on success. Raises ExportError."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportError(f"{folder} exists and is not an empty folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".export-") as temporary:
        partial = Path(temporary) / "new"
        partial.mkdir(mode=0o755)
        yield partial
        if folder.exists():
            folder.rmdir()
        os.replace(partial, folder)  # noqa: PTH105
