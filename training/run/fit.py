"""Run a training from settings to report: choose the model on the validation split, read the test split once.

If baselines are requested, ANNs of the same shape are trained by the same loop on the same windows.
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikesight.models.contract import Contract
from spikesight.models.neurons.state import State
from spikesight.training.config import TrainConfig
from spikesight.training.data import Data, Frames, load_data
from spikesight.training.data.start import EPOCHS, SCRATCH_LR, network_name, with_schedule
from spikesight.training.distributed import Processes, choose_device, join_processes
from spikesight.training.network import build_network
from spikesight.training.progress import say
from spikesight.training.run.baselines import Answers
from spikesight.training.run.evaluate import evaluate
from spikesight.training.run.loop import Run
from spikesight.training.run.novelty import unlike_start
from spikesight.training.run.read_out import reason_not_to_train
from spikesight.training.run.report import write_environment, write_report


def run_folder(config: TrainConfig) -> Path:
    """Make a new run folder, runs/<name>[-N], so that a run started meanwhile takes another; return its path."""
    name = config.name or f"{Path(config.data).resolve().name}-{network_name(config)}"
    folder, number = Path(config.output) / name, 2
    folder.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with suppress(FileExistsError):
            folder.mkdir()
            return folder
        folder, number = Path(config.output) / f"{name}-{number}", number + 1


def load_on_all(config: TrainConfig, processes: Processes) -> Data:
    """Load the data; the main process fills the cache while the others wait."""
    if not processes.main:
        processes.wait()
    data = load_data(config)
    if processes.main:
        processes.wait()
    return data


def fit(config: TrainConfig, folder: Path, *, resume: bool = False) -> dict[str, Any]:
    """Train in `folder` and write the report; return the final metrics (empty except in the main process).

    `resume` continues from the last checkpoint. Raises ValueError and TrainingError.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    processes = join_processes(config, choose_device(config.device))
    data = load_on_all(config, processes)
    if config.baselines and data.contract.kind != "events":
        raise ValueError("--baselines trains ANNs beside a network that takes events, not images")
    why = None if config.epochs or not data.notes else reason_not_to_train(data)
    run = Run(replace(data, config=replace(data.config, epochs=1)) if why else data, folder, processes)
    if resume:
        run.resume()
    if processes.main:
        folder.mkdir(parents=True, exist_ok=True)
        write_environment(folder, run.config, run.data)
        for line in (*run.data.notes, *filter(None, [unlike_start(run.data), why])):
            say(line)
        if run.data.notes and processes.world == 1:
            start, epochs, steps = run.config.init_from or "random weights", run.config.epochs, run.steps_an_epoch
            say(
                f"from {start}: {epochs} epochs of {steps} steps of {run.config.batch_size} samples, about "
                f"{max(1, round(run.minutes()))} min; Ctrl-C saves"
            )
        say(f"run folder: {folder}")
    run.train()
    metrics: dict[str, Any] = {}
    if processes.main:
        anns = ann_answers(run.data) if config.baselines else {}
        metrics = write_report(folder, run.data, run.progress, run.device, anns)
    processes.close()
    return metrics


class Framewise(nn.Module):
    """An ANN that sees a whole window at once: event counts in one frame, or, with `apart`, each step as own channels.

    It has a spiking network's interface: x_seq [T, N, C, H, W] to (logits [1, N, K], empty state).
    """

    def __init__(self, network: nn.Module, apart: bool) -> None:
        super().__init__()
        self.network, self.apart = network, apart

    def forward(self, x_seq: Tensor, _: object = None) -> tuple[Tensor, State]:
        seen = x_seq.transpose(0, 1).flatten(1, 2) if self.apart else x_seq.sum(0).log1p()
        return self.network(seen[None])[0], {}


def ann_answers(data: Data) -> Answers:
    """Train two ANNs of the run's shape, on one frame and on all steps of a window; return their test answers.

    They learn from random weights for EPOCHS, without model selection, and so also from the validation windows.
    """
    config = replace(
        data.config, neuron="relu", learn_beta=False, init_from="", freeze=False, teacher="",
        loss="mean", epochs=EPOCHS, carry=0.0, ema=0.0, truncate=0, random_steps=0, spike_penalty=0.0,
        checkpoint_steps=0, compile=False, lr=SCRATCH_LR, save_minutes=math.inf,
    )  # fmt: skip
    both = replace(data, train=data.train.concatenated(data.val), config=config)
    steps, answers = data.contract.steps, {}
    for name, channels in (("ANN of one frame", 1), (f"ANN of {steps} frames", steps)):
        plain = build_network(config, len(data.labels), channels * data.contract.channels)
        run = Run(both, Path(), network=Framewise(plain, channels > 1))
        list(run.train_alone())
        answers[name] = evaluate(run.network, data.test, len(data.labels), run.device, data.contract).chosen
    return answers


def anns_on(learnt: Frames, asked: Frames, labels: Sequence[str], contract: Contract, network: str = "") -> Answers:
    """Train ANNs of a `network`'s shape on windows, as on a user's own folder; return their answers to `asked`."""
    config = with_schedule(TrainConfig(network=network), len(learnt), min(contract.height, contract.width), own=True)
    data = Data(
        train=learnt, val=learnt.take(np.arange(0)), test=asked, labels=tuple(labels), contract=contract, split={},
        recorded=len(learnt), config=config, notes=("windows of recordings",),
    )  # fmt: skip
    return ann_answers(data)


def dry_run(config: TrainConfig) -> float:
    """Train on one batch without writing anything except the cache; return its mean loss."""
    if config.threads:
        torch.set_num_threads(config.threads)
    run = Run(load_data(config), Path(config.output))
    rows = np.arange(min(run.config.batch_size, len(run.data.train)))
    return run.train_batch(rows)[0] / len(rows)
