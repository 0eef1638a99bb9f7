"""Measure rows of the leaderboard and print them as one line of JSON: names of rows and their figures.

    python -m experiments.board SET [WHAT] --root FOLDER

`python -m experiments.board.rows run ROW` runs these commands and stores their output. Rows of one set and split share
their windows.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from corpora.drawn import MOTIONS, SENSOR, motion_recording
from corpora.others import Digits
from experiments import two_days
from experiments.board import recordings
from experiments.board.figures import METERED, Answers, Joules, dense_work, p95_ms, work
from experiments.board.windows import Windows, count_read, read_windows
from experiments.common.energy import PICOJOULES
from experiments.compare.comparison import costs
from experiments.compare.stdp import StdpConfig, StdpLayer, rates_of
from experiments.corruptions import corrupted, rows, summary
from experiments.real_input.near import HELD_OUT
from spikesight.encoders.recordings.files import digest, write_recording
from spikesight.models.classifier import Classifier
from spikesight.models.shipped import find
from spikesight.training.data.images import Pictures, load_images
from spikesight.training.run.assessment import assess, auroc
from spikesight.training.run.baselines import predictions
from spikesight.training.run.conformal import evenly, held_out
from spikesight.training.run.readings import Readings, Source, packets_of, read_recordings, read_set
from spikesight.training.step.batches import evaluation_input
from spikesight.training.teach.teach import teach

Rows = Iterator[tuple[str, dict[str, Any]]]
MACHINES = {"ridge on log counts": "ridge", "RBF kernel on log counts": "RBF kernel"}
NEAR = 8  # near-digit drawings of each kind; no model was trained with these kinds as outliers
FIRST_SEED = 40_000_000  # of drawn motions: seeds from here on were never used before


def row(windows: Windows, chosen: np.ndarray, split: str) -> dict[str, Any]:
    """Return the figures of the answers `chosen` to windows; a recording whose windows hold hardly any events counts as
    wrong.
    """
    found, right = Answers(split), chosen == windows.truth
    silent = np.setdiff1d(np.arange(windows.recordings), windows.recording)
    found.add(np.append(windows.recording, silent), np.append(right, np.zeros(len(silent), bool)))
    return found.figures()


def shown(readings: Readings, windows: Windows, split: str) -> dict[str, Any]:
    """Return the figures of a model's best guesses at windows' ends, which methods that refuse none are compared with,
    and the shares of recordings that are `right` as shown and `guessed` right.
    """
    columns = assess(readings)
    shares = {"right": columns["right"]["accuracy"], "guessed": columns["best_guess"]["accuracy"]}
    return {**row(windows, windows.chosen, split), **shares}


def beside(learnt: Windows, asked: Windows, split: str) -> Rows:
    """Yield rows of the kernel machines, trained and tested on the same windows as the network."""
    for name, chosen in predictions(learnt.counts, learnt.truth, asked.counts).items():
        yield MACHINES[name], row(asked, chosen, split)


def split_of(*readings: Readings) -> str:
    """Return a hash of the recordings for training and for the test."""
    names = [digest(source.item.path) for one in readings for source in one.sources]
    return digest("".join(names).encode())


def costs_of(classifier: Classifier, asked: Sequence[Source]) -> dict[str, Any]:
    """Measure operations, bytes of weights and the time of a step of one stream, on recordings of all classes."""
    contract, inputs = classifier.contract, []
    for source in evenly(asked, METERED):  # which are in the order of their classes
        sensor, packets = packets_of(source.item)
        inputs.append([one.x for one in classifier.packet_inputs(packets, sensor)][: contract.steps])
    steps = min(map(len, inputs))
    x_seq = torch.from_numpy(np.stack([np.stack(one[:steps]) for one in inputs], 1))
    state = classifier.initial_state()
    timed = {"p95_step_ms": p95_ms(lambda: classifier.step(x_seq[-1, :1], state))}
    return {**work(classifier.network, x_seq.float()), **timed}


def decisions(classifier: Classifier, asked: Readings) -> dict[str, Any]:
    """Return the mean number of steps until a commitment (all steps if there is none) and the median time in ms."""
    found = {}
    for table in held_out(classifier, asked.sources):
        share = f"{table['error_rate']:.0%}".rstrip("%")
        found |= {f"steps_at_{share}": table["mean_steps"], f"ms_at_{share}": table["median_ms"]}
    return found


def out_of_distribution(classifier: Classifier, asked: Readings, root: Path) -> dict[str, float | None]:
    """Return the AUROC of out-of-distribution detection, for drawings near digits and for motions, which are far."""
    images = load_images("mnist", root).train
    digits, random = Digits(images.pixels[:200, 0], images.labels[:200]), np.random.default_rng(FIRST_SEED)
    drawn = [of(digits, random) for of in HELD_OUT.values() for _ in range(NEAR)]
    near = [classifier.predict(classifier.image_inputs(picture, seed=n))[-1].known for n, picture in enumerate(drawn)]
    moving = (motion_recording(motion, SENSOR, seed=FIRST_SEED + n) for n in range(5) for motion in MOTIONS)
    far = [classifier.predict_events(events, SENSOR)[-1].known for events in moving]
    own = np.array([answer.known for answer in asked.answers], float)
    return {"near_auroc": auroc(own, np.array(near)), "far_auroc": auroc(own, np.array(far))}


def nmnist(args: argparse.Namespace) -> Rows:
    """The 100 real test recordings: the shipped model, and kernel machines trained on Train (not the reserved part)."""
    classifier = Classifier.load(find("nmnist")).at(args.bin_ms)
    lists = [recordings.listed(part) for part in ("Train", "Test")]
    learnt, asked = ([Source(i, recordings.LABELS[i.label]) for i in recordings.items(args.root, one)] for one in lists)
    meter, split = Joules(), recordings.hash_of(lists[1])
    found, windows = read_recordings(classifier, asked), read_windows(classifier, asked)
    measured = {**meter.microjoules(len(found.truth)), **decisions(classifier, found), **costs_of(classifier, asked)}
    if args.bin_ms is None:
        measured |= out_of_distribution(classifier, found, args.root)
        yield from beside(read_windows(classifier, learnt), windows, split)
    if args.corrupt:
        loss = summary(list(corrupted(classifier, asked, rows("nmnist", str(args.root), asked))))["mean_loss"]
        measured["corruption_loss"] = loss
    name = "nmnist" if args.bin_ms is None else f"nmnist at {args.bin_ms:g} ms"
    yield name, {**shown(found, windows, split), **measured}


def parts(args: argparse.Namespace) -> Rows:
    """Five-fold cross-validation of one method, one seed a fold; a `head` is taught on the motions network, which was
    trained without digits.
    """
    from experiments.board.machines import METHODS

    answers = Answers(recordings.hash_of(recordings.listed("Train")))
    cost: dict[str, Any] = {}
    for one in recordings.rounds(args.root):
        if args.what == "head":
            with TemporaryDirectory() as folder:
                for item in one.learnt:
                    (Path(folder) / "data" / str(item.label)).mkdir(parents=True, exist_ok=True)
                    (Path(folder) / "data" / str(item.label) / item.path.name).symlink_to(item.path.resolve())
                teach(Path(folder) / "data", Path(folder) / "head", features="motions", seed=one.seed, window_ms=310)
                classifier = Classifier.load(Path(folder) / "head")
                sources = [Source(item, str(item.label)) for item in one.asked]
                found = read_windows(classifier, sources)
            right = np.zeros(len(one.asked), bool)  # a recording is one window; one without events counts as wrong
            right[found.recording] = found.chosen == found.truth
            answers.add(one.rows, right)
            cost = costs_of(classifier, sources)
            continue
        learnt, asked = (recordings.frames(part, args.cache) for part in (one.learnt, one.asked))
        chosen, cost = METHODS[args.what](learnt, asked, one.seed)
        answers.add(one.rows, chosen == asked.labels)
    yield args.what, {**answers.figures(), **cost}


def taught(learn: Path, ask: Path, features: str, **how: Any) -> Rows:
    """A taught head, and kernel machines on the same windows, trained on one folder and tested on another."""
    with TemporaryDirectory() as to:
        teach(learn, Path(to) / "head", features=features, **how)
        classifier = Classifier.load(Path(to) / "head")
        asked, learnt = read_set(classifier, str(ask)), read_set(classifier, str(learn))
        split, windows = split_of(learnt, asked), read_windows(classifier, asked.sources)
        yield from beside(read_windows(classifier, learnt.sources), windows, split)
        yield "head", {**shown(asked, windows, split), **costs_of(classifier, asked.sources)}


def motions(args: argparse.Namespace) -> Rows:
    """Drawn motions of new seeds: the shipped model, a head on the digit network, and kernel machines."""
    with TemporaryDirectory() as folder:
        for part, first in (("learnt", FIRST_SEED + 1000), ("asked", FIRST_SEED + 2000)):
            for motion in MOTIONS:
                (Path(folder) / part / motion).mkdir(parents=True)
                for n in range(args.count):
                    events = motion_recording(motion, SENSOR, seed=first + n)
                    write_recording(Path(folder) / part / motion / f"{n:03}.npz", events, SENSOR)
        learn, ask = Path(folder) / "learnt", Path(folder) / "asked"
        classifier = Classifier.load(find("motions"))
        asked, learnt = read_set(classifier, str(ask)), read_set(classifier, str(learn))
        split, windows = split_of(learnt, asked), read_windows(classifier, asked.sources)
        measured = {**decisions(classifier, asked), **costs_of(classifier, asked.sources)}
        yield "motions", {**shown(asked, windows, split), **measured}
        yield from beside(read_windows(classifier, learnt.sources), windows, split)
        yield from ((name, found) for name, found in taught(learn, ask, "nmnist") if name == "head")


def another_camera(args: argparse.Namespace) -> Rows:
    """Twenty real recordings of another camera (MNIST-DVS, a DVS128): measured only, never chosen on."""
    classifier = Classifier.load(find("nmnist"))
    found = read_set(classifier, str(args.root / "mnist_dvs"), layout="classes")
    yield "nmnist", shown(found, read_windows(classifier, found.sources), split_of(found))


def signs(args: argparse.Namespace) -> Rows:
    """Seven words of sign language; nothing is tuned on this set."""
    yield from taught(args.root / "sign" / "train", args.root / "sign" / "test", "nmnist")


def days(args: argparse.Namespace) -> Rows:
    """Five objects, taught on one emulated day and tested on another, both ways."""
    with TemporaryDirectory() as folder:
        made = two_days.pictures(Path(args.what), FIRST_SEED)
        ways = [Path(folder) / f"day{n}" for n in (1, 2)]
        for n, day in enumerate(ways):
            two_days.record(day, made, FIRST_SEED + n, 10.0, 2)
        for name, learn, ask in (("1 to 2", *ways), ("2 to 1", *reversed(ways))):
            yield from ((f"{name}, {what}", found) for what, found in taught(learn, ask, "nmnist"))


def mnist(args: argparse.Namespace) -> Rows:
    """MNIST's test images: a shipped model by name; `machines` and `stdp`, which learn from training images; or `int8`,
    the shipped ANN in eight bits.
    """
    images = load_images("mnist", args.root)
    split, numbers = digest(images.test.pixels.tobytes()), np.arange(len(images.test))

    def figures(chosen: np.ndarray) -> dict[str, Any]:
        answers = Answers(split)
        answers.add(numbers, chosen == images.test.labels)
        return answers.figures()

    if args.what == "machines":
        learnt = images.train.subset(5000)
        counts = [rates_of(part.pixels) for part in (learnt, images.test)]
        for name, chosen in predictions(counts[0], learnt.labels, counts[1]).items():
            yield f"{MACHINES[name]}, 5,000 images", figures(chosen)
    elif args.what == "stdp":
        learnt, layer = images.train.subset(10_000), StdpLayer(StdpConfig())
        layer.learn(rates_of(learnt.pixels))
        layer.name(rates_of(learnt.pixels[:5000]), learnt.labels[:5000], 10)
        yield "STDP, 10,000 images", figures(layer.predict(rates_of(images.test.pixels)))
    elif args.what == "int8":
        yield from ((name, {**figures(chosen), **cost}) for name, chosen, cost in int8(images))
    else:
        classifier = Classifier.load(find(args.what))
        meter = Joules()
        found = read_set(classifier, "mnist", str(args.root))
        x_seq = evaluation_input(torch.tensor(images.test.pixels[:64, None]), classifier.contract)
        weights = sum(p.numel() for p in classifier.network.parameters())
        if classifier.origin == "ann":
            cost = dense_work(classifier.ann_macs, weights)
        elif classifier.origin == "converted":
            done = costs(classifier.network, x_seq[0], classifier.contract.steps)[str(classifier.contract.steps)]  # type: ignore[arg-type]
            mac, ac = PICOJOULES
            spent = (mac * done.macs + ac * (done.acs + done.updates)) * 1e-6
            cost = {"macs": done.macs, "acs": done.acs, "bytes": 4 * weights, "microjoules": spent}
        else:
            cost = work(classifier.network, x_seq)
        state = classifier.initial_state()
        cost["p95_step_ms"] = p95_ms(lambda: classifier.step(x_seq[0, :1], state))
        guessed = np.array([answer.index for answer in found.answers])
        windows = Windows(
            found.truth, guessed, np.zeros((len(guessed), 0), np.float32), np.arange(len(guessed)), len(guessed)
        )
        yield args.what, {**shown(found, windows, split), **cost, **meter.microjoules(len(numbers))}


def int8(images: Pictures) -> Iterator[tuple[str, np.ndarray, dict[str, Any]]]:
    """Yield (row name, classes of the test images, costs of one image) for the runtimes that are installed."""
    from benchmarks.common.networks import exported, installed, onnx_runtime, openvino, quantised

    classifier, size = Classifier.load(find("mnist-ann")), 500
    network: Any = classifier.network
    cost = dense_work(classifier.ann_macs, sum(p.numel() for p in network.parameters()), 8)

    def shown(pixels: np.ndarray) -> torch.Tensor:
        return evaluation_input(torch.from_numpy(pixels[:, None]), classifier.contract).contiguous()

    with TemporaryDirectory() as folder:
        seen = shown(images.train.pixels[:size])
        file = quantised(exported(network, seen, Path(folder) / "ann.onnx"), seen)
        batches = [shown(images.test.pixels[begin : begin + size]) for begin in range(0, len(images.test), size)]
        runs: dict[str, Callable[[torch.Tensor], Any]] = {
            "ONNX Runtime": lambda x_seq: onnx_runtime(file, x_seq)()[0],
            "OpenVINO": lambda x_seq: next(iter(openvino(file, x_seq, "f32")().values())),
        }
        for name, run in runs.items():
            if installed(name.replace(" ", "").lower()):
                yield f"mnist-ann in int8 by {name}", np.concatenate([run(x)[0].argmax(1) for x in batches]), cost


READS = {"nmnist": "nmnist", "signs": "sign", "mnist": "mnist"}  # data sets whose test split a command reads
MEASURED: dict[str, Callable[[argparse.Namespace], Rows]] = {
    "nmnist": nmnist, "parts": parts, "motions": motions, "signs": signs, "emulated-days": days, "mnist": mnist,
    "mnist-dvs": another_camera,
}  # fmt: skip


def measured(words: list[str] | None = None) -> dict[str, dict[str, Any]]:
    """Return the figures of each row that a command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=MEASURED)
    parser.add_argument("what", nargs="?", default="", help="of parts a method, of mnist a model, of days the pictures")
    parser.add_argument("--root", type=Path, required=True, help="where data sets lie")
    parser.add_argument("--cache", type=Path, default=Path(".cache"), help="of binned recordings (default .cache)")
    parser.add_argument("--bin-ms", type=float, help="of nmnist")
    parser.add_argument("--corrupt", action="store_true", help="of nmnist: the points lost under corruptions, too")
    parser.add_argument("--count", type=int, default=20, help="of motions: recordings each, to learn from and to ask")
    args = parser.parse_args(words)
    args.root = args.root.resolve()
    times: dict[str, Any] = {}
    if args.set in READS:
        times["reads"] = count_read(args.root, READS[args.set], f"board {args.set} {args.what}")
    return {f"{args.set}: {name}": {**figures, **times} for name, figures in MEASURED[args.set](args)}


if __name__ == "__main__":
    print(json.dumps(measured()))
