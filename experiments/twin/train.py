"""Train the twins: the network of the digit model with LIF neurons, as an ANN on ten frames and as an ANN on one.

The settings are those of corpora/digits.yaml but for the number of steps and the learning rate, which is the
one that the trainer takes where none is named: the recipe's is for long runs, which name it. An ANN pays no price for
spikes. The twins of a seed learn together, each from the very batches of the others. No epoch is chosen.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from benchmarks.common.report import processor_name
from corpora.digits import training_samples
from corpora.sets import shown_images
from corpora.whole import RECIPE, OneFrame, shape_of
from spikesight.models.checkpoint import load
from spikesight.models.networks.resnet import SpikingResNet
from spikesight.models.shipped import find
from spikesight.training.config import UNSET, TrainConfig
from spikesight.training.data import Data, load_data
from spikesight.training.distributed import ProcessGroup, choose_device
from spikesight.training.flags import from_mapping, read_yaml
from spikesight.training.progress import with_progress
from spikesight.training.run.loop import Run
from spikesight.training.step.batches import Batches, TrainingBatch, seeded

EPOCHS = 10  # into which the steps are divided: the first is the warm-up
WEIGHTS, METRICS = "model.safetensors", "metrics.json"  # of a finished run; the second is written last


@dataclass(frozen=True)
class Twin:
    """One form of the network."""

    words: str
    neuron: str  # as --neuron has it
    kind: type[SpikingResNet]
    seeds: int  # how many seeds it is trained with


TWINS = {
    "snn": Twin("SNN (LIF), ten frames", "lif", SpikingResNet, 5),
    "ann-ten": Twin("ANN (ReLU), ten frames", "relu", SpikingResNet, 3),
    "ann-one": Twin("ANN (ReLU), one frame", "relu", OneFrame, 3),
}


class Handed(Batches):
    """Batches that all twins of a seed are handed: each is made once."""

    last: TrainingBatch | None = None

    def take(self, rows: Any, step: int, next_rows: Any = None) -> TrainingBatch:  # noqa: ARG002
        """Return the batch of this step."""
        if self.last is None or self.last.step != step:
            self.last = self.make(rows, step)
        return self.last


def settings(root: Path, cache: Path, steps: int, lr: float | None = None) -> TrainConfig:
    """Return the recipe's settings for a run of `steps` optimiser steps, rounded to EPOCHS."""
    config = from_mapping(TrainConfig(), read_yaml(RECIPE), str(RECIPE))
    each = max(1, steps // EPOCHS)
    return replace(
        config, data="nmnist", root=str(root), cache=str(cache), epochs=EPOCHS, epoch_steps=each,
        lr=UNSET if lr is None else lr, network="event-medium",
    )  # fmt: skip


def load_samples(config: TrainConfig) -> Data:
    """Return N-MNIST's recordings with the corpus's samples among them; all seeds of a twin share its pictures."""
    data = load_data(config)
    left_out = shown_images(data.split["val"])
    train, outliers = training_samples(Path(config.root), Path(config.cache), data.train, left_out, config.seed)
    return replace(data, train=train, outliers=outliers)


def train_together(names: Sequence[str], seed: int, data: Data, to: Path) -> None:
    """Train the twins of these names with this seed; write the weights and metrics of each to <to>/<name>-<seed>."""
    runs: dict[str, Run] = {}
    given: Handed | None = None
    for name in names:
        twin = TWINS[name]
        config = replace(data.config, seed=seed, neuron=twin.neuron)
        if twin.neuron == "relu":
            config = replace(config, spike_penalty=0.0)
        torch.manual_seed(seed)
        mine = replace(data, config=config)
        run = Run(mine, to, ProcessGroup(choose_device("cpu")), twin.kind(shape_of(twin.neuron, config)))
        run.network.train()
        given = run.batches = given or Handed(mine, run.processes)
        runs[name] = run
    assert given is not None
    size, steps = data.config.batch_size, EPOCHS * data.config.epoch_steps
    order = torch.randperm(len(data.train), generator=seeded(seed, 2))[: steps * size].numpy()
    curves: dict[str, list[float]] = {name: [] for name in runs}
    seconds = dict.fromkeys(("samples", *runs), 0.0)
    for step in with_progress(range(steps), f"training seed {seed}", "step"):
        rows = order[step * size :][:size]
        begin = time.process_time()
        given.take(rows, step)
        seconds["samples"] += time.process_time() - begin
        for name, run in runs.items():
            begin = time.process_time()
            curves[name].append(run.train_batch(rows)[0] / size)
            run.progress.step += 1
            seconds[name] += time.process_time() - begin
    made = seconds.pop("samples")
    for name, run in runs.items():
        assert run.average is not None
        folder = to / f"{name}-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        save_file({key: tensor.contiguous() for key, tensor in run.average.items()}, folder / WEIGHTS)
        metrics = {
            "twin": name, "seed": seed, "steps": steps, "batch": size, "lr": run.config.lr,
            "loss": [round(sum(part) / len(part), 4) for part in _tenths(curves[name])],
            "training_s": round(seconds[name], 1), "samples_s": round(made, 1),
            "parameters": sum(p.numel() for p in run.network.parameters()),
            "processor": processor_name(), "threads": torch.get_num_threads(),
        }  # fmt: skip
        (folder / METRICS).write_text(json.dumps(metrics) + "\n")


def made_as_twin(model: str, to: Path) -> None:
    """Let a model that the whole recipe made stand as the SNN of seed 0."""
    network, _ = load(find(model))
    folder = to / "snn-0"
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, folder / WEIGHTS)
    recipe = read_yaml(RECIPE)
    steps = recipe["epochs"] * recipe["epoch_steps"]
    metrics = {"twin": "snn", "seed": 0, "steps": steps, "batch": recipe["batch_size"], "lr": recipe["lr"]}
    (folder / METRICS).write_text(json.dumps(metrics) + "\n")


def _tenths(curve: list[float]) -> list[list[float]]:
    each = len(curve) // EPOCHS
    return [curve[n * each : (n + 1) * each] for n in range(EPOCHS)]


def wanted(to: Path, seeds: Sequence[int], among: Sequence[str]) -> dict[int, list[str]]:
    """Return, by seed, which twins `among` these are not trained yet."""
    found = {
        seed: [n for n in among if seed < TWINS[n].seeds and not (to / f"{n}-{seed}" / METRICS).exists()]
        for seed in seeds
    }
    return {seed: names for seed, names in found.items() if names}


def trained(name: str, seed: int, config: TrainConfig, to: Path) -> SpikingResNet:
    """Load a finished twin."""
    twin = TWINS[name]
    network = twin.kind(shape_of(twin.neuron, config))
    network.load_state_dict(load_file(to / f"{name}-{seed}" / WEIGHTS))
    return network.eval()
