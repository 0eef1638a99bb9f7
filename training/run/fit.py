"""Run a training from settings to report: choose the model on the validation split, read the test split once."""

from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from spikesight.training.config import TrainConfig
from spikesight.training.data import Data, load_data
from spikesight.training.distributed import ProcessGroup, choose_device, join_processes
from spikesight.training.flags import from_mapping
from spikesight.training.progress import say
from spikesight.training.resolve import EPOCHS, MINUTES, network_name, planned
from spikesight.training.run.loop import Run
from spikesight.training.run.novelty import unlike_start
from spikesight.training.run.read_out import FittedHead, first_head, reason_not_to_train
from spikesight.training.run.report import write_environment, write_model_so_far, write_report

MOST_EPOCHS = 1000  # that are planned


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


def load_on_all(load: Callable[[], Data], processes: ProcessGroup) -> Data:
    """Load the data; the main process fills the cache while the others wait."""
    if not processes.main:
        processes.wait()
    data = load()
    if processes.main:
        processes.wait()
    return data


def begin(
    given: TrainConfig, data: Data, folder: Path, processes: ProcessGroup | None = None
) -> tuple[Run, FittedHead | None, str | None]:
    """Return a run on `data`, the head that it begins with, and why it is not to be trained. `given`: its settings
    before they were resolved. Raises ValueError for no epochs and no head.
    """
    first, why, network = first_head(data), None, None
    if first is not None:
        why = None if given.epochs is not None else reason_not_to_train(first)
        config = planned(data.config, epochs=0) if why else data.config
        data = replace(data, config=config, contract=replace(data.contract, readout=1))
        network = deepcopy(first.judged)
    elif data.config.epochs == 0:
        raise ValueError("--epochs 0 fits a read-out alone: on a model to start from, to binary recordings of your own")
    return Run(data, folder, processes, network), first, why


def fit(
    source: TrainConfig | Any, folder: Path, *, test: Any | None = None, resume: bool = False, **settings: Any
) -> dict[str, Any]:
    """Train in `folder` and write the report; return the final metrics (empty except in the main process).

    `source`: the settings of a run, which `settings` override, or a data set like Tonic's, as `Data.of` takes it with
    `test` and `settings`. `resume` continues from the last checkpoint. Raises ValueError and TrainingError;
    KeyboardInterrupt after a Ctrl-C, when a checkpoint and the best model so far, in model/, are written.
    """
    named = isinstance(source, TrainConfig)
    if named and test is not None:
        raise ValueError("fit takes a test set beside a data set, not beside settings, which name one")
    config = from_mapping(source if named else TrainConfig(), settings, "fit")
    load = partial(load_data, config) if named else partial(Data.of, source, test, **settings)
    processes = join_processes(config, choose_device(config.device))
    run, first, why = begin(config, load_on_all(load, processes), folder, processes)
    if resume:
        run.resume()
    elif config.epochs is None and run.config.epochs and (config.minutes or first is not None):
        run.plan_for(config.minutes or MINUTES, MOST_EPOCHS if config.minutes else EPOCHS)
    if processes.main:
        folder.mkdir(parents=True, exist_ok=True)
        write_environment(folder, run.config, run.data)
        for line in (*run.data.notes, *filter(None, [unlike_start(run.data), why])):
            say(line)
        if run.data.own:
            say(run.plan())
        say(f"run folder: {folder}")
    if first is not None:
        run.keep_first()
        if processes.main and not resume:
            write_model_so_far(folder, run.data, run.progress, first)
    try:
        run.train()
    except KeyboardInterrupt:
        run.keep_first()
        if processes.main:
            write_model_so_far(folder, run.data, run.progress, first)
        raise
    metrics = write_report(folder, run.data, run.progress, run.device, first) if processes.main else {}
    processes.close()
    return metrics


def dry_run(config: TrainConfig) -> float:
    """Say what the data are and train on one batch; write nothing except the cache; return the batch's mean loss."""
    run, _, _ = begin(config, load_data(config), Path(config.output))
    for line in run.data.notes:
        say(line)
    rows = np.arange(min(run.config.batch_size, len(run.data.train)))
    return run.train_batch(rows)[0] / len(rows)
