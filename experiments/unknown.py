"""Out-of-distribution input: how well `in_distribution` separates it from in-distribution input, and how much of it
gets a label.

    python -m experiments.unknown --root shared/data --seed 11

For the motion model almost every input has a right answer, even of kinds that it was not trained on: noise is `still`,
and an object moved by N-MNIST's saccades travels on a triangle.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.common import report
from corpora.digits import mnist_digits
from corpora.drawn import MOTIONS, motion_recording
from corpora.others import Digits
from experiments.near import near, print_digits
from spikesight.encoders.emulator.pixels import Emulator
from spikesight.encoders.emulator.saccades import saccade_events
from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.models.classifier import Classifier
from spikesight.models.novelty import KEPT
from spikesight.models.shipped import find
from spikesight.models.steps import Input, Prediction
from spikesight.training.config import TrainConfig
from spikesight.training.data import read_item
from spikesight.training.data.images import DEBIAN_FASHION, read_idx
from spikesight.training.data.tonic_sets import list_named
from spikesight.training.run.assessment import auroc
from spikesight.training.run.novelty import calibration_error

NOISE_HZ = 12.0
TRIANGLE = "counter-clockwise"  # direction in which `Saccades` visit their corners
FRAME = SensorSize(320, 240)  # of emulated films
Things = Iterator[tuple[list[Input], int]]  # inputs of a sample, and its class; -1: none of the model's


def final_answers(classifier: Classifier, things: Things) -> tuple[list[Prediction], NDArray[np.int64]]:
    """Return the answer to each sample after the contract's steps, and the true classes."""
    answers, labels = [], []
    for inputs, label in things:
        answers.append(classifier.predict(inputs[: classifier.contract.steps])[-1])
        labels.append(label)
    return answers, np.array(labels)


def class_of(classifier: Classifier, label: str) -> int:
    """Return the class of a label; -1 if the model has none."""
    return classifier.labels.index(label) if label in classifier.labels else -1


def by_saccades(classifier: Classifier, pictures: NDArray[np.uint8] | list[NDArray[np.uint8]], seed: int) -> Things:
    """Yield still pictures moved by saccades before the model's own sensor."""
    contract, label = classifier.contract, class_of(classifier, TRIANGLE)
    sensor = SensorSize(contract.sensor_width, contract.sensor_height)
    for n, picture in enumerate(pictures):
        yield (
            classifier.event_inputs(
                repeated(classifier, saccade_events(picture, sensor, contract.still, seed=seed + n)), sensor
            ),
            label,
        )


def repeated(classifier: Classifier, events: Events) -> Events:
    """Repeat a recording until it fills the read-out's horizon."""
    span = classifier.contract.bin_us * classifier.contract.horizon
    if not len(events):
        return events
    times = -(-span // (int(events["t"][-1]) + 1))
    again = np.tile(events, times)
    again["t"] += np.repeat(np.arange(times) * (int(events["t"][-1]) + 1), len(events)).astype(again["t"].dtype)
    return again


def noise(classifier: Classifier, seed: int) -> Things:
    """Yield random events at NOISE_HZ a pixel."""
    contract, label = classifier.contract, class_of(classifier, "still")
    size = SensorSize(contract.sensor_width, contract.sensor_height)
    span = contract.bin_us * contract.horizon
    while True:
        random = np.random.default_rng(seed := seed + 1)
        count = random.poisson(NOISE_HZ * span * 1e-6 * size.width * size.height)
        t = np.sort(random.integers(0, span, count))
        x, y = random.integers(0, size.width, count), random.integers(0, size.height, count)
        yield classifier.event_inputs(make_events(t, x, y, random.integers(0, 2, count)), size), label


def motions(classifier: Classifier, seed: int, labels: tuple[str, ...] = ()) -> Things:
    """Yield drawn motions, with their class if the model's `labels` are given."""
    contract = classifier.contract
    size, length = SensorSize(64, 64), max(400, contract.bin_us * contract.horizon // 1000 + 10)
    while True:
        name = MOTIONS[(seed := seed + 1) % len(MOTIONS)]
        events = motion_recording(name, size, seed=1_000_000 + seed, duration_ms=length)
        yield classifier.event_inputs(events, size), labels.index(name) if labels else -1


def films(classifier: Classifier, root: Path) -> Things:
    """Yield videos of people and traffic, seen by an emulated camera, in windows of the read-out's horizon."""
    for path in sorted(path for path in (root / "videos").rglob("*") if path.suffix in (".mp4", ".mkv")):
        film, eye, parts = cv2.VideoCapture(str(path)), Emulator(FRAME), []
        rate = film.get(cv2.CAP_PROP_FPS) or 30
        for n in range(240):
            found, frame = film.read()
            if not found:
                break
            grey = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), (FRAME.width, FRAME.height))
            parts.append(eye.push(grey.astype(np.uint8), round(n * 1e6 / rate)))
        if parts:
            inputs, steps = classifier.event_inputs(np.concatenate(parts), FRAME), classifier.contract.horizon
            for start in range(0, len(inputs) - steps + 1, steps):
                yield inputs[start : start + steps], -1


def photographs(root: Path) -> list[NDArray[np.uint8]]:
    """Read grey photographs; return each whole and two parts of it."""
    parts: list[NDArray[np.uint8]] = []
    for path in sorted((root / "imagenet_1perclass").glob("*.jpg")):
        photo = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if photo is not None:
            grey = photo.astype(np.uint8)
            parts += [grey, grey[:150, :150], grey[-128:, -128:]]
    return parts


def out_of_distribution(classifier: Classifier, root: Path, seed: int) -> dict[str, Things]:
    """Return out-of-distribution input by name."""
    filmed = {"people and traffic, filmed": films(classifier, root)}
    if TRIANGLE in classifier.labels:
        return filmed
    random = np.random.default_rng(seed)
    there, file = DEBIAN_FASHION.is_dir(), DEBIAN_FASHION / "t10k-images-idx3-ubyte.gz"
    fashion = read_idx(file) if there else np.empty((0, 28, 28), np.uint8)
    digits, _ = mnist_digits(root, "t10k")
    grains = random.integers(0, 256, (1000, 28, 28)).astype(np.uint8)
    if classifier.contract.kind == "image":
        show: Callable[[NDArray], list[Input]] = classifier.image_inputs
        return {
            "Fashion-MNIST": ((show(picture), -1) for picture in fashion),
            "photographs": ((show(picture), -1) for picture in photographs(root)),
            "uniform noise": ((encode_raw(classifier, picture), -1) for picture in grains),
            "inverted digits": ((encode_raw(classifier, 255 - picture), -1) for picture in digits),
        }
    return {
        "Fashion-MNIST by saccades": by_saccades(classifier, fashion, seed),
        "photographs by saccades": by_saccades(classifier, photographs(root), seed),
        f"noise at {NOISE_HZ:.0f} Hz a pixel": noise(classifier, seed),
        "uniform noise by saccades": by_saccades(classifier, grains, seed),
        **filmed,
        "drawn motions": motions(classifier, seed),
    }


def encode_raw(classifier: Classifier, picture: NDArray[np.uint8]) -> list[Input]:
    """Encode a picture of the network's input size as it is, without looking for a drawing in it."""
    contract = classifier.contract
    mean, std = contract.mean or (0.0,), contract.std or (1.0,)
    x = ((picture.astype(np.float32) / 255 - mean[0]) / std[0])[None]
    return [Input(x, t, t + 1, 0, False) for t in range(contract.steps)]


def in_distribution(classifier: Classifier, root: Path, seed: int) -> dict[str, Things]:
    """Return in-distribution test data by name."""
    if TRIANGLE in classifier.labels:
        return {"drawn motions, other seeds": motions(classifier, seed, classifier.labels)}
    digits, labels = mnist_digits(root, "t10k")
    order = np.random.default_rng(seed).permutation(len(digits))
    if classifier.contract.kind == "image":
        return {"MNIST test": ((encode_raw(classifier, digits[i]), int(labels[i])) for i in order)}
    recordings = list_named(TrainConfig(data="nmnist", root=str(root))).test
    shown = by_saccades(classifier, digits[order], seed)
    return {
        "N-MNIST test": ((classifier.event_inputs(*read_item(item)), item.label) for item in recordings),
        "MNIST test by saccades": ((inputs, int(labels[i])) for i, (inputs, _) in zip(order, shown)),
    }


def answered(classifier: Classifier, root: Path, seed: int) -> dict[str, Things]:
    """Return further input that has a right answer for a motion model, by name; empty for other models."""
    if TRIANGLE not in classifier.labels:
        return {}
    return {
        f"noise at {NOISE_HZ:.0f} Hz a pixel": noise(classifier, seed),
        "digits by saccades": by_saccades(classifier, mnist_digits(root, "t10k")[0], seed),
        "photographs by saccades": by_saccades(classifier, photographs(root), seed),
    }


OWN = ("input", "count", "labelled, %", "right, %", "calibration error", "of a calibrated model")
OTHER = ("input", "against", "count", "AUROC", "let through at 95 % kept, %", "labelled, %")


def begin_table(title: str, columns: tuple[str, ...]) -> None:
    """Begin a table: print its head and add it to the report."""
    report.table(title, *columns)
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")


def add(*cells: str | float) -> None:
    """Print a row of the table and add it to the report."""
    report.row(*cells)
    print(f"| {' | '.join(f'{cell:.4g}' if isinstance(cell, float) else str(cell) for cell in cells)} |", flush=True)


def calibration_floor(probabilities: np.ndarray, draws: int = 200) -> float:
    """Return the mean calibration error that a perfectly calibrated model with these probabilities [M, K] would show.

    A finite sample has an error above 0: 300 digits at an accuracy of 98.7 % show about 0.01.
    """
    random, sums = np.random.default_rng(0), np.cumsum(probabilities, 1)
    ones = np.ones(len(probabilities))
    labels = [(sums[:, :-1] < random.random((len(sums), 1))).sum(1) for _ in range(draws)]
    return float(np.mean([calibration_error(probabilities, drawn, ones) for drawn in labels]))


def with_answers(classifier: Classifier, things: dict[str, Things], count: int) -> dict[str, NDArray]:
    """Add a row for each kind of input with right answers; return the scores `in_distribution` by kind."""
    found: dict[str, NDArray] = {}
    for name, some in things.items():
        answers, labels = final_answers(classifier, islice(some, count))
        found[name] = np.array([answer.in_distribution for answer in answers], float)
        probabilities = np.array([answer.probabilities for answer in answers])
        error = calibration_error(probabilities, labels, np.ones(len(labels)))
        right = 100 * float((probabilities.argmax(1) == labels).mean())
        floor = calibration_floor(probabilities)
        add(name, len(labels), 100 * float((found[name] >= KEPT).mean()), right, error, floor)
    return found


def rows(classifier: Classifier, root: Path, count: int, seed: int) -> None:
    """Measure and report the tables of one model, with up to `count` samples a row."""
    begin_table(f"{classifier.name}: what it was trained on", OWN)
    owns = with_answers(classifier, in_distribution(classifier, root, seed), count)
    if others := answered(classifier, root, seed):
        begin_table(f"{classifier.name}: what else has a right answer", OWN)
        with_answers(classifier, others, count)
    begin_table(f"{classifier.name}: what has none", OTHER)
    without_answers(classifier, out_of_distribution(classifier, root, seed), owns, count)


def rows_of_near(classifier: Classifier, root: Path, count: int, seed: int) -> None:
    """Measure and report the tables of outliers near digits, with up to `count` drawings a row."""
    digits = Digits(*mnist_digits(root, "t10k"))
    begin_table(f"{classifier.name}: digits, written and printed", OWN)
    drawn, labels = print_digits(seed)
    own = in_distribution(classifier, root, seed)
    print_ = {"OpenCV's fonts, thin to thick": zip((inputs for inputs, _ in shown(classifier, drawn, seed)), labels)}
    owns = with_answers(classifier, {**own, **print_}, count)
    begin_table(f"{classifier.name}: what lies near digits and is none", OTHER)
    drawings = near(digits, seed, count, classifier.card.training.get("outliers", ()))
    others = {name: shown(classifier, of, seed) for name, of in drawings.items()}
    without_answers(classifier, others, {name: owns[name] for name in own}, count)


def shown(classifier: Classifier, pictures: list[NDArray[np.uint8]], seed: int) -> Things:
    """Yield pictures of 28 x 28 pixels as they are for an image model, moved by saccades for an event model."""
    if classifier.contract.kind == "events":
        return by_saccades(classifier, pictures, seed)
    return ((encode_raw(classifier, picture), -1) for picture in pictures)


def without_answers(classifier: Classifier, others: dict[str, Things], owns: dict[str, NDArray], count: int) -> None:
    """Add a row for each kind of out-of-distribution input, against the scores `in_distribution` of each known kind."""
    for name, things in others.items():
        answers, _ = final_answers(classifier, islice(things, count))
        if not answers:
            print(f"| {name} | | none at hand |")
            continue
        strange = np.array([answer.in_distribution for answer in answers], float)
        for own, known in owns.items():
            through = 100 * float((strange >= np.quantile(known, 0.05)).mean())
            add(name, own, len(strange), auroc(known, strange) or 0.0, through, 100 * float((strange >= KEPT).mean()))


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--root", type=Path, default=Path("data"), help="of mnist/, nmnist/ and imagenet_1perclass/")
    parser.add_argument("--models", nargs="+", default=["nmnist", "mnist-direct", "motions"], help="names or folders")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=300, help="samples a row")
    args = parser.parse_args()
    for classifier in (Classifier.load(find(name)) for name in args.models):
        rows(classifier, args.root, args.count, args.seed)
        if TRIANGLE not in classifier.labels:
            rows_of_near(classifier, args.root, args.count, args.seed)
    report.write("unknown", args.json)


if __name__ == "__main__":
    main()
