"""Thresholds of the novelty detector at shorter bins (models/novelty/bins.py), from a run's validation data.

The samples are binned as short as the contract allows; longer bins are made of these. The distances stay those of the
trained bin, the lines are read off windows of each bin, as they are and augmented, as those of the trained one are.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from spikesight.encoders.dvs import shown_in
from spikesight.models.contract import Contract
from spikesight.models.neurons.layers import at_pace
from spikesight.models.novelty import NoveltyDetector
from spikesight.models.novelty.score import Lines, fit_lines
from spikesight.training.data import Data, Frames, bin_items
from spikesight.training.progress import counted
from spikesight.training.run.conformal import BINS_MS, evenly
from spikesight.training.run.novelty import Forward, Part, Prepare, augmenting, forwarder, run_windows, validation_parts
from spikesight.training.step.batches import evaluation_input

MOST = 150  # samples of a part: at 1 ms each has hundreds of steps, 0.7 MB of digits


def with_bins(network: nn.Module, data: Data, known: NoveltyDetector) -> NoveltyDetector:
    """The detector with thresholds at those of BINS_MS that the contract has below its own; unchanged for none."""
    own = data.contract
    bins = [ms for ms in BINS_MS if own.bins_us[0] <= ms * 1000 < own.bin_us]
    if not bins or not data.val_items:
        return known
    finest = own.at(own.bins_us[0] / 1000)
    parts = fine_parts(data, finest)
    lines: dict[int, list[Lines]] = {}
    for bin_ms in counted(bins, "lines at shorter bins", "bin"):
        contract = own.at(bin_ms)
        forward = forwarder(at_pace(network, contract.span), contract, known.layers)
        lines[contract.bin_us] = lines_at(forward, data, known, parts, (finest, contract))
    return NoveltyDetector(known.layers, known.kinds, lines)


def fine_parts(data: Data, finest: Contract) -> list[tuple[Frames, int]]:
    """The samples of each part of the validation data at the finest bins, and the kind of input that they are."""
    val = bin_items(evenly(data.val_items, MOST), finest, Path(data.config.cache), "binning shortly")
    return validation_parts(replace(data, val=val, contract=finest), MOST)


def lines_at(
    forward: Forward,
    data: Data,
    known: NoveltyDetector,
    fine: Iterable[tuple[Frames, int]],
    contracts: tuple[Contract, Contract],
) -> list[Lines]:
    """The lines of every kind at the bins of the second contract, from samples at those of the first."""
    finest, contract = contracts
    prepared: list[Prepare] = [partial(evaluation_input, contract=contract), augmenting(data)]
    joined = round(contract.bin_us / finest.bin_us)
    seen = [partial(rebinned, prepare=prepare, joined=joined, contract=contract) for prepare in prepared]
    parts: list[Part] = [(part, prepare, kind) for part, kind in fine for prepare in seen]
    return fit_lines([kind.distance for kind in known.kinds], run_windows(forward, parts, contract))


def rebinned(stored: Tensor, prepare: Prepare, joined: int, contract: Contract) -> Tensor:
    """Samples [N, T, 2, H, W] at the finest bins to a network's prepared input [T', N, 2, H, W], `joined` bins to one.

    A cell is 1 where an event came in the last `contract.shown_bins` bins.
    """
    bins = torch.stack([part.amax(1) for part in stored.split(joined, 1)][: contract.steps], 1)
    return torch.from_numpy(shown_in(prepare(bins).byte().numpy(), contract.shown_bins)).float()
