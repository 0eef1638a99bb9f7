"""Fit a run's out-of-distribution detector (models/novelty) to its data.

The distance is fitted to augmented training samples, all thresholds to validation samples, plain and augmented. For a
run that learnt outliers, the distance also uses plain training samples, and the thresholds only plain validation
samples, since strongly augmented ones resemble outliers; made samples fix no thresholds, only the temperature and what
is nothing. Neither outliers nor test samples are used. At shorter bins
the distances stay the same; the thresholds come from the validation recordings, binned as short as the contract allows
and merged to each bin.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikesight.encoders.dvs import shown_in
from spikesight.models.checkpoint import read_config
from spikesight.models.contract import Contract
from spikesight.models.engine.engine import Engine, can_run
from spikesight.models.networks.taught import RateWatch, TaughtNetwork
from spikesight.models.neurons.layers import at_pace
from spikesight.models.novelty import NoveltyDetector, fit_novelty
from spikesight.models.novelty.profile import Profile, compare, measure
from spikesight.models.novelty.rates import Rates, layers_to_watch
from spikesight.models.novelty.score import Thresholds, Windows, fit_lines
from spikesight.models.statistics import calibration_error, running_mean, softmax
from spikesight.training.data import Data, Frames, bin_items
from spikesight.training.progress import with_progress
from spikesight.training.resolve import weights_path
from spikesight.training.run.conformal import BINS_MS, evenly
from spikesight.training.step.batches import evaluation_input, seeded, training_input

MOST_TRAINING, MOST_VALIDATION, SPARE = 6000, 4000, 500  # samples
MOST_PROFILED = 2000
MOST_FINE = 150  # samples of a part at the finest bins: at 1 ms a digit has hundreds of steps, 0.7 MB
SHOWN = ("height", "width", "bin_us", "encoding", "frame", "filter_us", "pooled")  # fields that affect input statistics
BATCH = 32
Prepare = Callable[[Tensor], Tensor]  # stored samples, uint8 [N, T or 1, C, H, W], to x_seq
Part = tuple[Frames, Prepare, bool]  # samples, how they are prepared, and whether thresholds are fixed on them
Forward = Callable[[Tensor], tuple[Tensor, Tensor]]  # x_seq [T, N, C, H, W] to (logits [T, N, K], rates [T, N, S])


def calibrate_novelty(network: nn.Module, data: Data) -> tuple[NoveltyDetector, dict[str, Any]]:
    """Return (detector at the trained bin, figures for the model card). Raises ValueError for too few samples."""
    network = network.cpu().eval()
    layers = layers_to_watch(network, data.contract.shape)
    if not layers:
        raise ValueError("this network has no neurons to watch")
    forward = forwarder(network, data.contract, layers)
    for_distance, for_lines = prepared(data, data.contract)
    learnt = _spread(data.train, MOST_TRAINING)
    training = run_windows(forward, [(learnt, prepare, True) for prepare in for_distance], data.contract)
    recorded = len(data.val) - (len(data.made) if data.made is not None else 0)
    chosen = [data.val.take(rows) for rows in np.split(np.arange(len(data.val)), [recorded]) if len(rows)]
    parts = [(_spread(part, MOST_VALIDATION), how, n == 0) for n, part in enumerate(chosen) for how in for_lines]
    validation = run_windows(forward, parts, data.contract)
    known = fit_novelty(layers, training, validation, distance_weight(data))
    return known, _measured(known, training, validation)


def with_bins(network: nn.Module, data: Data, known: NoveltyDetector) -> NoveltyDetector:
    """Return the detector with thresholds at those of BINS_MS that are shorter than the contract's bin and allowed."""
    own = data.contract
    bins = [ms for ms in BINS_MS if own.bins_us[0] <= ms * 1000 < own.bin_us]
    if not bins or not data.val_items:
        return known
    finest = own.at(own.bins_us[0] / 1000)
    val = bin_items(evenly(data.val_items, MOST_FINE), finest, Path(data.config.cache), "binning shortly")
    fine = [val]
    if data.made is not None:
        made = replace(data.made, steps=finest.steps, bin_us=finest.bin_us)
        rows = np.array(evenly(range(len(made)), MOST_FINE))
        fine.append(Frames(made[rows], made.labels[rows]))
    lines: dict[int, Thresholds] = {}
    for bin_ms in with_progress(bins, "lines at shorter bins", "bin"):
        contract = own.at(bin_ms)
        forward = forwarder(at_pace(network, contract.span), contract, known.layers)
        joined = round(contract.bin_us / finest.bin_us)
        seen = [partial(rebinned, prepare=one, joined=joined, contract=contract) for one in prepared(data, contract)[1]]
        parts: list[Part] = [(part, prepare, n == 0) for n, part in enumerate(fine) for prepare in seen]
        windows = run_windows(forward, parts, contract)
        lines[contract.bin_us] = fit_lines(known.distance, windows, distance_weight(data))
    return NoveltyDetector(known.layers, known.distance, known.lines, lines)


def rebinned(stored: Tensor, prepare: Prepare, joined: int, contract: Contract) -> Tensor:
    """Merge samples [N, T, 2, H, W] at the finest bins, `joined` bins to one, into a network's input [T', N, 2, H, W].

    A cell is 1 if it had an event in the last `contract.shown_bins` bins.
    """
    bins = torch.stack([part.amax(1) for part in stored.split(joined, 1)][: contract.steps], 1)
    return torch.from_numpy(shown_in(prepare(bins).byte().numpy(), contract.shown_bins)).float()


def profile_of(data: Data) -> Profile | None:
    """Return statistics of the training input, by which another camera is recognised; None for images."""
    if data.contract.kind != "events":
        return None
    seen = _spread(data.train, MOST_PROFILED).frames
    return Profile.of([measure(np.array(frames), data.contract.trained_us) for frames in seen])


def unlike_start(data: Data) -> str | None:
    """Return a sentence on how these recordings' camera differs from the training data of the initial model; None if it
    does not differ, or if the network's input is made differently.
    """
    path, seen = weights_path(data.config.init_from or ""), profile_of(data)
    if not (data.config.init_from and path.is_dir() and seen is not None):
        return None
    card = read_config(path)[2]
    same = all(getattr(card.contract, name) == getattr(data.contract, name) for name in SHOWN)
    return compare(card.profile, seen.middle) if card.profile is not None and same else None


def forwarder(network: nn.Module, contract: Contract, layers: int) -> Forward:
    """Return a function that runs windows from zero state, by the engine if it supports the network. A taught network
    is read only at the end of a window, for which its head was made.
    """
    last = slice(-1 if isinstance(network, TaughtNetwork) else None, None)
    if can_run(network):
        engine = Engine(network, contract.height, contract.width, rates=layers)

        def by_engine(x_seq: Tensor) -> tuple[Tensor, Tensor]:
            result = engine.run(x_seq)
            return result.logits[last], result.rates[last]

        return by_engine
    rates = RateWatch(network, layers) if isinstance(network, TaughtNetwork) else Rates(network, layers)

    @torch.inference_mode()
    def by_module(x_seq: Tensor) -> tuple[Tensor, Tensor]:
        return network(x_seq)[0][last], rates.read()[last]

    return by_module


def prepared(data: Data, contract: Contract) -> tuple[list[Prepare], list[Prepare]]:
    """Return how to prepare (training samples for the distance, validation samples for the thresholds)."""
    plain, moved = partial(evaluation_input, contract=contract), augmenting(data)
    return ([moved], [plain, moved]) if data.outliers is None else ([plain, moved], [plain])


def distance_weight(data: Data) -> float:
    """Return the weight of the distance relative to the energy: little if the energy has learnt from outliers.

    Of learnt kinds drawn anew before any sensor, AUROC is 0.992 to 0.996 for all weights from 0 to 1, but of digits
    read right in any motion 74.8 % are known at 0.2 and 62.7 % at 0.7.
    """
    return 1.0 if data.outliers is None else 0.2


def augmenting(data: Data) -> Prepare:
    """Return a function that augments all samples as the training did some, since they are in distribution."""
    generator = seeded(data.config.seed, 3)
    return partial(training_input, config=data.config, contract=data.contract, generator=generator)


def run_windows(forward: Forward, parts: list[Part], contract: Contract) -> Windows:
    """Run each part's samples through the network; all parts have the same total weight, whatever their sizes."""
    logits, rates, active, labels, weights, typical = [], [], [], [], [], []
    for part, prepare, fixes in parts:
        for start in range(0, len(part), BATCH):
            rows = slice(start, min(start + BATCH, len(part)))
            x_seq = prepare(torch.from_numpy(np.array(part.frames[rows]))).contiguous()
            made, noted = forward(x_seq)
            logits.append(running_mean(made.transpose(0, 1).numpy()))
            rates.append(running_mean(noted.transpose(0, 1).numpy()))
            active.append(running_mean(x_seq.flatten(2).count_nonzero(2).T.numpy()))
        labels.append(part.labels)
        weights.append(np.full(len(part), 1 / len(part)))
        typical.append(np.full(len(part), fixes))
    joined = [np.concatenate(each) for each in (logits, rates, active, labels, weights, typical)]
    horizon = contract.horizon
    return Windows(*(part[:, :horizon] for part in joined[:3]), *joined[3:])


def _spread(frames: Frames, most: int) -> Frames:
    """Return up to `most` of the samples, spread evenly."""
    return frames.take(np.array(evenly(range(len(frames)), most)))


def _measured(known: NoveltyDetector, training: Windows, validation: Windows) -> dict[str, Any]:
    """Return the detector's figures for the model card."""
    last, temperature = validation.logits[:, -1], float(known.lines.temperature[-1])
    cooled = softmax(last / temperature)
    return {
        "layers": known.layers,
        "channels": known.width,
        "training": len(training.labels),
        "validation": len(validation.labels),
        "temperature": round(temperature, 3),
        "calibration_error": round(calibration_error(cooled, validation.labels, validation.weights), 4),
        "calibration_error_before": round(calibration_error(softmax(last), validation.labels, validation.weights), 4),
        "fewest_inputs": round(float(known.active[-1]), 1),
    }
