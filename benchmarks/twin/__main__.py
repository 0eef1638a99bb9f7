"""Train the digit network as SNN and as ANN on the same samples, and ask all of them the same.

    OMP_NUM_THREADS=1 taskset -c 1 python -m benchmarks.twin --root DATA --to runs/twin

A run that is finished is not trained again, so the command goes on where it was stopped. `--seeds 0 1` trains these
alone, and asks all that there are; `--train` asks nothing. It takes an hour and a half of one core, 400 steps each.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.common import report
from benchmarks.twin.ask import (
    Right,
    answer,
    by_time,
    costs,
    difference,
    learn_few,
    machines,
    right,
    stored,
    times,
    told_apart,
)
from benchmarks.twin.questions import ANY_MOTION, NOTHING, REAL, Question, few_shots, made, real
from benchmarks.twin.train import METRICS, TWINS, load_samples, settings, train_together, trained, wanted
from spikesight.training.data import Data
from spikesight.training.progress import with_progress
from spikesight.training.run.baselines import MOST

SEEDS = 5
BASELINES = 3  # seeds of the kernel machine and of ridge regression


def train(data: Data, to: Path, seeds: Sequence[int]) -> None:
    """Train the twins that are missing."""
    for seed, names in wanted(to, seeds).items():
        begin = time.monotonic()
        train_together(names, seed, data, to)
        words = ", ".join(TWINS[name].words for name in names)
        print(f"seed {seed}: {words}: {(time.monotonic() - begin) / 60:.1f} min", flush=True)


def ask(data: Data, to: Path, count: int) -> None:
    """Ask all trained twins, and add the tables."""
    config, contract = data.config, data.contract
    asked = [*real(Path(config.root), contract), *made(Path(config.root), count)]
    sets = list(few_shots(Path(config.root)))
    found: dict[str, list[Right]] = {name: [] for name in TWINS}
    steps: dict[str, list[list[float]]] = {name: [] for name in TWINS}
    spent: dict[str, list[dict[str, float]]] = {name: [] for name in TWINS}
    runs = [(name, seed) for seed in range(SEEDS) for name in TWINS if (to / f"{name}-{seed}" / METRICS).exists()]
    for name, seed in with_progress(runs, "asking", "network"):
        network, one, last = trained(name, seed, config, to), Right(), dict[str, np.ndarray]()
        for question in asked:
            logits = answer(network, question)
            if question.what == NOTHING:
                one[question.what] = told_apart(last[ANY_MOTION], logits[:, -1].max(1))
                continue
            last[question.what] = logits[:, -1].max(1)
            one[question.what] = right(logits, question)
            if question.what == REAL:
                steps[name].append(by_time(logits, question))
                spent[name].append(costs(network, question))
        for data_set in sets:
            one |= learn_few(network, data_set)
        found[name].append(one)
        stored(to / f"{name}-{seed}", one, steps[name][-1], spent[name][-1])
    words = {twin.words: found[name] for name, twin in TWINS.items() if found[name]}
    accuracies({**words, **baselines(data, asked)}, {one.what: len(one.truth) for one in asked})
    report.table("accuracy by time seen, N-MNIST, %", "twin", *(f"{31 * (n + 1)} ms" for n in range(contract.steps)))
    for name in (name for name in TWINS if steps[name]):
        report.row(TWINS[name].words, *(100 * np.mean(steps[name], 0)))
    operations(spent, to)
    first = {name: trained(name, 0, config, to) for name in TWINS if found[name]}
    report.table("a window on one core, ms", "twin and program", "ms")
    for what, ms in times(first, asked[0]).items():
        name, _, program = what.partition(": ")
        report.row(f"{TWINS[name].words}: {program}", ms)


def baselines(data: Data, asked: Sequence[Question]) -> dict[str, list[Right]]:
    """Let ridge regression and a kernel machine learn from as many samples of the corpus as they can hold."""
    found: dict[str, list[Right]] = {}
    for seed in range(BASELINES):
        rows = np.sort(np.random.default_rng(seed).permutation(len(data.train))[:MOST])
        for name, one in machines(data.train.frames[rows], data.train.labels[rows], asked).items():
            found.setdefault(name, []).append(one)
    return found


def accuracies(found: dict[str, list[Right]], counts: dict[str, int]) -> None:
    """Add the table of answers: mean and deviation over seeds; how far the SNN is ahead, by the seeds of both."""
    report.table(
        "right, %", "what", "method", "units", "seeds", "mean", "deviation", "SNN ahead by", "low", "high"
    )  # fmt: skip
    first = next(iter(found.values()))
    for what in first[0]:
        for name, runs in found.items():
            if what not in runs[0]:
                continue
            values = np.stack([run[what] for run in runs])
            shares, both = 100 * values.mean(1), min(len(runs), len(first))
            ahead = difference(np.stack([run[what] for run in first[:both]]), values[:both])
            spread = float(shares.std(ddof=1)) if len(shares) > 1 else 0.0
            gap = [100 * one for one in ahead]
            report.row(what, name, counts.get(what, len(values[0])), len(runs), float(shares.mean()), spread, *gap)
            ahead_by = f"{gap[0]:+.1f} ({gap[1]:+.1f} to {gap[2]:+.1f})"
            print(f"| {what} | {name} | {shares.mean():.1f} +- {spread:.1f} | {ahead_by} |", flush=True)


def operations(spent: dict[str, list[dict[str, float]]], to: Path) -> None:
    """Add the table of what a window costs, and what the training did."""
    columns = ("multiply-adds", "additions", "dense", "microjoules", "core minutes of training", "steps")
    report.table("a window of N-MNIST: operations", "twin", *columns)
    for name in (name for name in TWINS if spent[name]):
        metrics = [json.loads(file.read_text()) for file in sorted(to.glob(f"{name}-*/{METRICS}"))]
        minutes = float(np.mean([one["training_s"] + one["samples_s"] for one in metrics])) / 60
        means = (float(np.mean([one[key] for one in spent[name]])) for key in ("macs", "acs", "dense", "microjoules"))
        report.row(TWINS[name].words, *means, minutes, metrics[0]["steps"])


def main(argv: Sequence[str]) -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--root", type=Path, default=Path("data"), help="where nmnist/ and mnist/ lie")
    parser.add_argument("--cache", type=Path, default=Path(".cache"), help="folder of drawn pictures")
    parser.add_argument("--to", type=Path, default=Path("runs/twin"), help="folder of the trained networks")
    parser.add_argument("--steps", type=int, default=400, help="optimiser steps of a run")
    parser.add_argument("--seeds", type=int, nargs="*", default=list(range(SEEDS)), help="seeds to train")
    parser.add_argument("--count", type=int, default=200, help="samples of a question that are made")
    parser.add_argument("--train", action="store_true", help="train alone")
    args: argparse.Namespace = parser.parse_args(argv)
    data = load_samples(settings(args.root, args.cache, args.steps))
    train(data, args.to, args.seeds)
    if not args.train:
        ask(data, args.to, args.count)
        report.write("twin", args.json)


if __name__ == "__main__":
    main(sys.argv[1:])
