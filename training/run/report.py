"""Write the files of a run: metrics, environment, confusion matrix, model card and the model itself."""

import csv
import io
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from spikesight.encoders.words import counted
from spikesight.models.checkpoint import load, replacing, save
from spikesight.models.classifier import Classifier, Stepper
from spikesight.models.contract import Card
from spikesight.training.config import TrainConfig
from spikesight.training.data import Data, read_item
from spikesight.training.data.images import PictureRows
from spikesight.training.flags import to_yaml
from spikesight.training.progress import say
from spikesight.training.run.assessment import two_columns
from spikesight.training.run.baselines import beside_network, sentences
from spikesight.training.run.conformal import committing, evenly, takes_of
from spikesight.training.run.evaluate import evaluate
from spikesight.training.run.novelty import calibrate_novelty, profile_of, with_bins
from spikesight.training.run.read_out import BEGUN, TRAINED, FittedHead, heads_of, origin
from spikesight.training.run.readings import read_images
from spikesight.training.run.resume import Progress


def write_whole(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as (partial,):
        partial.write_text(text)


def write_metrics(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write metrics.jsonl, one row an epoch."""
    write_whole(folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def _git_commit() -> str:
    try:
        command = ["git", "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # Tonic is optional
        return None


def write_environment(folder: Path, config: TrainConfig, data: Data) -> None:
    """Write config.yaml, split.json and env.json, which describe how to repeat the run."""
    write_whole(folder / "config.yaml", to_yaml(config))
    write_whole(folder / "split.json", json.dumps(data.split, indent=1) + "\n")
    environment = {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "commit": _git_commit(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": {name: _version(name) for name in ("spikesight", "torch", "numpy", "tonic")},
    }
    write_whole(folder / "env.json", json.dumps(environment, indent=1) + "\n")


MOST_SLOW = 2000  # images to ask a network that the engine does not run


def test_columns(classifier: Classifier, data: Data) -> dict[str, Any]:
    """Return `right` and `best_guess` (`two_columns`) of the test samples, each answered as `predict` answers it: whole
    recordings, windows of longer ones, or images (some, if they take long).
    """
    if not data.test_items:
        some = evenly(range(len(data.test)), MOST_SLOW if classifier.slow else len(data.test))
        read = read_images(classifier, data.labels, data.test.take(np.array(some)))
        return two_columns(data.labels, read.truth.tolist(), read.answers)
    made = (classifier.event_inputs(*read_item(item)) for item in data.test_items)
    answers = [Stepper(classifier).verdict(inputs).prediction for inputs in made]
    return two_columns(data.labels, [item.label for item in data.test_items], answers)


def write_confusion(path: Path, confusion: np.ndarray, labels: Sequence[str]) -> None:
    """Write a confusion matrix [K, K'] as CSV: K true classes, K' labels, of which these are the first."""
    table = io.StringIO()
    rows = ([label, *row] for label, row in zip(labels, confusion.tolist()))
    csv.writer(table, lineterminator="\n").writerows([["truth", *labels], *rows])
    write_whole(path, table.getvalue())


def _card_text(name: str, data: Data, metrics: dict[str, Any]) -> str:
    t, s = metrics["test"], metrics["samples"]
    right, guess = (f"{100 * c['accuracy']:.2f} % of {c['count']}" for c in (t, t["best_guess"]))
    low, high = (100 * side for side in t["interval"])
    rates = "\n".join(f"| {name} | {rate:.4f} |" for name, rate in t["firing_rates"].items())
    c = data.contract
    if c.kind == "events":
        shown = f"{counted(c.steps, 'step')} of {c.bin_us} us"
        ann_sees, macs = f"on all {counted(c.steps, 'bin')}", metrics["ann_macs"] * c.steps
    else:
        shown = f"{counted(c.steps, 'step')}, {c.encoding} encoding"
        ann_sees, macs = "on the image, once", metrics["ann_macs"]
    what, active = "Spiking classifier", "Firing rates (spikes a neuron a step, on the test split)"
    if data.config.neuron == "relu":
        what, active = "ANN", "Shares of activations that are not zero (on the test split)"
    beside = "\n".join(f"- {line}" for line in sentences(metrics.get("baselines", [])))
    left_out = "".join(f"\nLeft out, since it cannot be read: {line}\n" for line in data.left_out)
    own = "the data set's own test split" if data.split["official_test"] else "a seeded split set aside"
    return f"""---
license: unknown  # the trainer's to say
tags: [spiking-neural-network{", event-camera" if c.kind == "events" else ""}]
metrics: [accuracy]
---
# {name}

{what} of {data.split["data"]}, by `train-dvs`: {metrics["made"]}.

| | |
|---|---|
| accuracy on test data, as shown | {right} (95 % interval {low:.1f} to {high:.1f}) |
| top-1 accuracy | {guess} |
| test data | {own}, read once by this run |
| validation accuracy | {metrics["val_accuracy"]:.4f} ({_chosen(data, metrics)}) |
| samples (train / val / test) | {s["train"]} / {s["val"]} / {s["test"]} |
| different recordings or images among the training samples | {metrics["recorded"]} |
| T | {shown} |
| parameters | {metrics["parameters"]} |
| synaptic operations a sample | {t["synops"]:.0f} |
| multiply-adds of the same ANN {ann_sees} | {macs} |
| commits | {metrics["commits"]} |
| seed | {data.config.seed} |
{left_out}
{beside}

{active}:

| layer | rate |
|---|---|
{rates}
"""


def _chosen(data: Data, metrics: dict[str, Any]) -> str:
    """Return in words which epoch the model is of, and what judged it."""
    epoch = f"epoch {metrics['best_epoch']} of {data.config.epochs}"
    kept = metrics["read_out"] and metrics["read_out"]["kept"]
    if kept == BEGUN:
        return "head only, fitted without these" + ": no epoch was shown to be better" * bool(data.config.epochs)
    return f"by the read-out fitted without these, on {epoch}" if kept == TRAINED else epoch


@dataclass(frozen=True)
class Made:
    """The model that a run has made so far."""

    network: nn.Module
    card: Card
    data: Data  # with the contract of the model
    heads: list[FittedHead]  # the first one is taken


def _make(folder: Path, data: Data, progress: Progress, first: FittedHead | None) -> Made:
    """Load the best network of a run that began with the head `first`, or with none, and choose its read-out."""
    network, card = load(folder / "checkpoints" / "best")
    trained = network if first is None or progress.best_epoch >= 0 else None
    heads = heads_of(trained, data, first) if data.own else []
    if len(heads) > 1:
        right = ", ".join(f"{head.right.sum()} by {head.name}" for head in heads)
        judged = counted(len(heads[0].right), "validation window")
        say(f"answers are read by {heads[0].name}; of {judged} right: {right}")
    if heads:
        network, data = heads[0].network, replace(data, contract=replace(data.contract, readout=1))
    made = {"made": origin(data, heads[0] if heads else None), "epochs": progress.epoch}
    return Made(network, replace(card, contract=data.contract, training={**card.training, **made}), data, heads)


def write_model_so_far(folder: Path, data: Data, progress: Progress, first: FittedHead | None) -> None:
    """Write model/ of a run that is not over: not tested, and calibrated to nothing."""
    made = _make(folder, data, progress, first)
    save(folder / "model", made.network, replace(made.card, profile=profile_of(data)))
    when = f"{made.card.training['made']}; as of epoch {progress.epoch + 1} of {data.config.epochs}; not tested"
    write_whole(folder / "model" / "README.md", f"# {folder.name}\n\n{when}.\n")


def write_report(
    folder: Path, data: Data, progress: Progress, device: torch.device, first: FittedHead | None
) -> dict[str, Any]:
    """Evaluate the best model once on the test split; write model/, confusion.csv and result.json; return the
    metrics.
    """
    made = _make(folder, data, progress, first)
    network, card, data, heads = made.network, made.card, made.data, made.heads
    learnt = [data.train, data.val] if heads else [data.train]
    kept = {"kept": heads[0].name, "right": {each.name: int(each.right.sum()) for each in heads}} if heads else None
    test = evaluate(network.to(device), data.test, len(data.labels), device, data.contract)
    model = folder / "model"
    metrics: dict[str, Any] = {
        "made": card.training["made"],
        "val_accuracy": float(heads[0].right.mean()) if heads else progress.best_val,
        "best_epoch": progress.best_epoch + 1,
        "test": {"accuracy_by_step": test.accuracy_by_step, "synops": test.synops, "firing_rates": test.firing_rates},
        "parameters": sum(p.numel() for p in network.parameters()),
        "samples": card.training["samples"],
        "recorded": data.recorded,
        "read_out": kept and {**kept, "count": len(heads[0].right)},
    }
    if not isinstance(data.test.frames, PictureRows):  # of a set that is too large to keep decoded
        of = [str(item.path) for item in data.test_items] or range(test.count)
        recording = np.unique(of, return_inverse=True)[1]
        metrics["baselines"] = beside_network(learnt, data.test, test.chosen, recording, data.contract.kind)
    known, judged = None, heads[0].judged if heads else network
    try:
        known, metrics["known"] = calibrate_novelty(judged, data)
        known = known if data.contract.readout else with_bins(judged, data, known)
    except ValueError as error:
        say(f"not calibrated, so `in_distribution` will be null: {error}")
    card = replace(card, metrics=metrics, novelty=known, profile=profile_of(data))
    judging = committing(judged, card, takes_of(data))
    metrics["commits"] = judging.metrics["commits"]
    save(model, network, card)
    made = Classifier.load(model)
    columns = test_columns(made, data)
    metrics["test"] |= {**columns["right"], "best_guess": columns["best_guess"]}
    metrics["ann_macs"] = made.ann_macs
    save(model, network, replace(judging, metrics=metrics))
    write_confusion(folder / "confusion.csv", test.confusion, data.labels)
    write_whole(model / "README.md", _card_text(folder.name, data, metrics))
    write_whole(folder / "result.json", json.dumps(metrics, indent=1) + "\n")
    return metrics
