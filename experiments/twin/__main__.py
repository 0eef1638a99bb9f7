"""Train the digit network as SNN and as ANN on the same samples, and ask all of them the same.

    OMP_NUM_THREADS=1 taskset -c 1 python -m experiments.twin --root DATA --to runs/twin

The ANNs at half the steps of the SNN that the whole recipe made, which stands beside them:

    python -m experiments.twin --root DATA --to runs/long --steps 3000 --lr 0.004 --snn RUN/model --seeds 0

A run that is finished is neither trained nor asked again, so the command goes on where it was stopped. `--seeds 0 1`
trains these alone, `--seeds` none; `--train` asks nothing.

The time of a window in each program that is installed, on a core that nothing else uses; it needs no run:

    taskset -c 1 python -m experiments.twin --root DATA --times
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import report
from benchmarks.common.timing import begin
from corpora.whole import shape_of
from experiments.twin.ask import (
    Right,
    answer,
    by_time,
    costs,
    difference,
    learn_few,
    machines,
    right,
    times,
    told_apart,
)
from experiments.twin.questions import ANY_MOTION, NOTHING, REAL, FewShots, Question, few_shots, made, real
from experiments.twin.train import (
    METRICS,
    TWINS,
    load_samples,
    made_as_twin,
    settings,
    train_together,
    trained,
    wanted,
)
from spikesight.models.checkpoint import load
from spikesight.models.engine.engine import engine_status
from spikesight.models.networks.resnet import SpikingResNet
from spikesight.models.shipped import find
from spikesight.training.config import TrainConfig
from spikesight.training.data import Data
from spikesight.training.progress import with_progress
from spikesight.training.run.baselines import MOST

SEEDS = 5
BASELINES = 3  # seeds of the kernel machine and of ridge regression


def train(data: Data, to: Path, seeds: Sequence[int], among: Sequence[str]) -> None:
    """Train the twins that are missing."""
    for seed, names in wanted(to, seeds, among).items():
        begin = time.monotonic()
        train_together(names, seed, data, to)
        words = ", ".join(TWINS[name].words for name in names)
        print(f"seed {seed}: {words}: {(time.monotonic() - begin) / 60:.1f} min", flush=True)


def kept(folder: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the answers in this folder; if there are none, ask and write them as JSON."""
    file = folder / "answers.json"
    if not file.exists():
        found = make()
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found) + "\n")
    return json.loads(file.read_text())


def answers(network: SpikingResNet, asked: Sequence[Question], sets: Sequence[FewShots]) -> dict[str, Any]:
    """Ask one network everything: `right` by question (and AUROC), `by_time` and `costs` on N-MNIST."""
    one, last, found = Right(), dict[str, np.ndarray](), dict[str, Any]()
    for question in asked:
        logits = answer(network, question)
        last[question.what] = logits[:, -1].max(1)
        if question.what == NOTHING:
            one[question.what] = told_apart(last[ANY_MOTION], last[NOTHING])
            continue
        one[question.what] = right(logits, question)
        if question.what == REAL:
            found |= {"by_time": by_time(logits, question), "costs": costs(network, question)}
    for data_set in sets:
        one |= learn_few(network, data_set)
    return {"right": {what: units.round(4).tolist() for what, units in one.items()}, **found}


def baseline(data: Data, asked: Sequence[Question], seed: int) -> dict[str, Any]:
    """Let ridge regression and a kernel machine learn from as many samples of the corpus as they can hold."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(data.train))[:MOST])
    found = machines(data.train.frames[rows], data.train.labels[rows], asked)
    return {name: {what: units.tolist() for what, units in one.items()} for name, one in found.items()}


def ask(data: Data, to: Path, count: int) -> None:
    """Ask all trained twins, and add the tables."""
    config, contract = data.config, data.contract
    asked = [*real(Path(config.root), contract), *made(Path(config.root), count)]
    sets, found = list(few_shots(Path(config.root))), dict[str, list[dict[str, Any]]]()
    runs = [(name, seed) for name in TWINS for seed in range(SEEDS) if (to / f"{name}-{seed}" / METRICS).exists()]
    for name, seed in with_progress(runs, "asking", "network"):
        network = trained(name, seed, config, to)
        one = kept(to / f"{name}-{seed}", lambda network=network: answers(network, asked, sets))
        found.setdefault(name, []).append(one)
    methods = {TWINS[name].words: [one["right"] for one in of] for name, of in found.items()}
    for seed in range(BASELINES):
        for name, one in kept(to / f"counts-{seed}", lambda seed=seed: baseline(data, asked, seed)).items():
            methods.setdefault(name, []).append(one)
    accuracies(methods)
    report.table("accuracy by time seen, N-MNIST, %", "twin", *(f"{31 * (n + 1)} ms" for n in range(contract.steps)))
    for name, of in found.items():
        report.row(TWINS[name].words, *(float(100 * share) for share in np.mean([one["by_time"] for one in of], 0)))
    operations({name: [one["costs"] for one in of] for name, of in found.items()}, to)


def time_them(config: TrainConfig) -> None:
    """Add the table of times of a window before a test recording of each digit: of the shipped SNN, whose rates the
    engine's time depends on, and of ANNs of random weights, on which a dense program's time does not depend.
    """
    shipped, card = load(find("nmnist"))
    assert isinstance(shipped, SpikingResNet)
    networks = {name: twin.kind(shape_of(twin.neuron, config)).eval() for name, twin in TWINS.items()} | {
        "snn": shipped
    }
    report.table("a window on one core, ms", "twin and program", "ms")
    for what, ms in times(networks, next(real(Path(config.root), card.contract))).items():
        name, _, program = what.partition(": ")
        report.row(f"{TWINS[name].words}: {program}", ms)


def accuracies(found: dict[str, list[dict[str, Any]]]) -> None:
    """Add the table of answers: mean and deviation over seeds; how far the SNN is ahead, by the seeds of both."""
    report.table(
        "right, %", "what", "method", "units", "seeds", "mean", "deviation", "SNN ahead by", "low", "high"
    )  # fmt: skip
    first = next(iter(found.values()))
    for what in first[0]:
        for name, runs in found.items():
            if what not in runs[0]:
                continue
            values = np.array([run[what] for run in runs])
            shares, both = 100 * values.mean(1), min(len(runs), len(first))
            ahead = difference(np.array([run[what] for run in first[:both]]), values[:both])
            spread = float(shares.std(ddof=1)) if len(shares) > 1 else 0.0
            gap = [100 * one for one in ahead]
            report.row(what, name, len(values[0]), len(runs), float(shares.mean()), spread, *gap)
            ahead_by = f"{gap[0]:+.1f} ({gap[1]:+.1f} to {gap[2]:+.1f})"
            print(f"| {what} | {name} | {shares.mean():.1f} +- {spread:.1f} | {ahead_by} |", flush=True)


def operations(spent: dict[str, list[dict[str, float]]], to: Path) -> None:
    """Add the table of what a window costs, and what the training did."""
    columns = ("multiply-adds", "additions", "dense", "microjoules", "core minutes of training", "steps")
    report.table("a window of N-MNIST: operations", "twin", *columns)
    for name in (name for name in TWINS if spent[name]):
        metrics = [json.loads(file.read_text()) for file in sorted(to.glob(f"{name}-*/{METRICS}"))]
        minutes = float(np.mean([one.get("training_s", 0) + one.get("samples_s", 0) for one in metrics])) / 60
        means = (float(np.mean([one[key] for one in spent[name]])) for key in ("macs", "acs", "dense", "microjoules"))
        report.row(TWINS[name].words, *means, minutes, metrics[0]["steps"])


def main(argv: Sequence[str]) -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--root", type=Path, default=Path("data"), help="where nmnist/ and mnist/ lie")
    parser.add_argument("--cache", type=Path, default=Path(".cache"), help="folder of drawn pictures")
    parser.add_argument("--to", type=Path, default=Path("runs/twin"), help="folder of the trained networks")
    parser.add_argument("--steps", type=int, default=250, help="optimiser steps of a run")
    parser.add_argument("--lr", type=float, help="learning rate (default: the trainer's; the recipe's is 0.004)")
    parser.add_argument("--snn", help="a model of digits.yaml, which stands for the SNN of seed 0")
    parser.add_argument("--seeds", type=int, nargs="*", default=list(range(SEEDS)), help="seeds to train")
    parser.add_argument("--only", nargs="+", choices=list(TWINS), default=list(TWINS), help="twins to train")
    parser.add_argument("--count", type=int, default=200, help="samples of a question that are made")
    parser.add_argument("--train", action="store_true", help="train alone")
    parser.add_argument("--times", action="store_true", help="measure times alone")
    args: argparse.Namespace = parser.parse_args(argv)
    config = settings(args.root, args.cache, args.steps, args.lr)
    if args.times:
        begin(engine_status())
        time_them(config)
        report.write("twintimes", args.json)
        return
    data = load_samples(config)
    if args.snn:
        made_as_twin(args.snn, args.to)
    train(data, args.to, args.seeds, args.only)
    if not args.train:
        name = "twinlong" if args.snn else "twin"
        ask(data, args.to, args.count)
        report.write(name, args.json)


if __name__ == "__main__":
    main(sys.argv[1:])
