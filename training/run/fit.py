"""A run from its settings to its report: the model is chosen on the validation split; the test split is read once."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from spikesight.training.config import TrainConfig
from spikesight.training.data import Data, load_data
from spikesight.training.data.start import network_name
from spikesight.training.distributed import Processes, choose_device, join_processes
from spikesight.training.progress import say
from spikesight.training.run.loop import Run
from spikesight.training.run.novelty import unlike_start
from spikesight.training.run.report import write_environment, write_report


def run_folder(config: TrainConfig) -> Path:
    """A new folder runs/<name>[-N]."""
    name = config.name or f"{Path(config.data).resolve().name}-{network_name(config)}"
    folder, number = Path(config.output) / name, 2
    while folder.exists():
        folder, number = Path(config.output) / f"{name}-{number}", number + 1
    return folder


def load_on_all(config: TrainConfig, processes: Processes) -> Data:
    """The data; the main process fills the cache while the others wait."""
    if not processes.main:
        processes.wait()
    data = load_data(config)
    if processes.main:
        processes.wait()
    return data


def fit(config: TrainConfig, folder: Path, *, resume: bool = False) -> dict[str, Any]:
    """Train in `folder` to the end and report; the final metrics (empty but in the main process).

    Raises ValueError and TrainingError.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    processes = join_processes(config, choose_device(config.device))
    run = Run(load_on_all(config, processes), folder, processes)
    if resume:
        run.resume()
    if processes.main:
        folder.mkdir(parents=True, exist_ok=True)
        write_environment(folder, run.config, run.data)
        for line in (*run.data.notes, *filter(None, [unlike_start(run.data)])):
            say(line)
        if run.data.notes and processes.world == 1:
            start, epochs, steps = run.config.init_from or "random weights", run.config.epochs, run.steps_an_epoch
            say(
                f"from {start}: {epochs} epochs of {steps} steps of {run.config.batch_size} windows, about "
                f"{max(1, round(run.minutes()))} min; Ctrl-C saves"
            )
        say(f"run folder: {folder}")
    run.train()
    metrics = write_report(folder, run.data, run.progress, run.device) if processes.main else {}
    processes.close()
    return metrics


def dry_run(config: TrainConfig) -> float:
    """One batch through the whole path, nothing written but the cache; its loss."""
    if config.threads:
        torch.set_num_threads(config.threads)
    run = Run(load_data(config), Path(config.output))
    rows = np.arange(min(config.batch_size, len(run.data.train)))
    return run.train_batch(rows)[0] / len(rows)
