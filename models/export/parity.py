"""Check that a written file computes the same as the network: 50 steps of each, from zero states."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikesight.models.contract import Contract
from spikesight.models.neurons.state import State

PARITY_STEPS, STREAMS = 50, 2
TOLERANCE = 1e-3  # of logits
Runner = Callable[[Tensor, State], tuple[Tensor, State]]  # (x_seq [T, N, C, H, W], state) -> (logits [T, N, K], state)


class ExportError(ValueError):
    """An export or import that is impossible or would change the network; the message is one sentence."""


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


@torch.no_grad()
def compared(network: nn.Module, run: Runner, contract: Contract, shape: tuple[int, ...] | None = None) -> str:
    """Run a network and its file (on inputs of `shape`) for 50 steps from zero states; say how many steps agree.

    A potential within rounding of its threshold may fire on one side only and changes later steps, so up to half of
    them may differ. Raises ExportError.
    """
    x_seq = example_inputs(contract, PARITY_STEPS)
    ours = network(x_seq)[0]
    theirs = run(x_seq if shape is None else x_seq.reshape(*x_seq.shape[:2], *shape), {})[0]
    same = int(((ours - theirs).abs().flatten(2).amax(2) <= TOLERANCE).sum()) if ours.shape == theirs.shape else 0
    if 2 * same < ours.shape[0] * ours.shape[1]:
        raise ExportError(f"the file's logits differ from the network's in all but {same} of {2 * PARITY_STEPS} steps")
    return f"the logits of {same} of {2 * PARITY_STEPS} steps are those of the network"


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
