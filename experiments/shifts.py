"""Commitments and the shift alarm when scene or camera differ from the calibration's.

    python -m experiments.shifts --root ../shared/data
    python -m experiments.shifts --root ../shared/data --only digits clothes    before other cameras

Inputs are test recordings of N-MNIST, and MNIST's test digits before other cameras. They follow each other at random in
streams of 100 that are never reset, half of the streams with gaps. Columns count objects: committed to rightly and
wrongly without the alarm, and with it, where "before the alarm" are those that still are wrong. "Alarm after" is the
median of the streams that raise it, in seconds. All rows have the model's own line, at which at most 1 in 100 clean
streams of 1,000 windows is to raise the alarm. "False alarms" counts such streams, made of streams of 20 recordings in
random order, and the streams of 20.

"Sets" measures the sets of labels as SpikeCP (arXiv 2305.11322) does, of N-MNIST's test recordings and, where they are
at hand, of those of MNIST-DVS on the box of what is active. An object is covered if its label is in the set at all its
steps after half a window.

Cameras are those of experiments/sensors.py, cropped to at most 360 pixels a side. They show MNIST's test digits
and print to the shipped model, and Fashion-MNIST's clothes to a head that was taught with the first camera. "Warned"
recordings are those that `predict` warns of. AUROC compares this camera's recordings with the first camera's by the
input statistic that lies furthest outside the training range.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import report
from corpora.digits import another_camera, mnist_digits
from corpora.printed import glyph
from experiments import faults
from experiments.digits import on_its_box
from experiments.sensors import CAMERAS, Camera
from spikesight.encoders.emulator.saccades import NMNIST, saccades
from spikesight.encoders.events import NMNIST_SENSOR, Events, SensorSize
from spikesight.encoders.preprocess.fit import centred
from spikesight.encoders.recordings.files import read_recording
from spikesight.models.classifier import Classifier, InputPipeline, Stepper
from spikesight.models.novelty.alarm import highest
from spikesight.models.novelty.profile import QUIET, measure
from spikesight.models.shipped import find
from spikesight.models.statistics import interval
from spikesight.models.teach.few_shot import EmbeddedExample, Example, FewShotLearner, backbone
from spikesight.training.config import TrainConfig
from spikesight.training.data import read_item
from spikesight.training.data.images import FASHION, IMAGES
from spikesight.training.data.tonic_sets import list_named
from spikesight.training.progress import with_progress
from spikesight.training.run.assessment import auroc
from spikesight.training.run.baselines import log_counts, predictions
from spikesight.training.run.conformal import LONG, CalibrationSample, Seen, follow, read_stream, streams
from spikesight.training.teach.examples import CLIP_SLICES, CLIP_STEPS, copies_for

PARTS = "recordings", "emulated", "sets", "digits", "clothes"
LONG_STREAMS, THINGS = 1000, 100
Shown = list[tuple[Events, int]]
CLOTHES = "dvs128", "atis", "davis346", "genx320", "imx636", "speck"
REGION = 360  # largest side, pixels: emulating more takes minutes
LEARNT, FEW = 10, 5  # examples of a class
Recording = tuple[Events, SensorSize, str]


def thinned(events: Events, _: SensorSize, random: np.random.Generator, share: float) -> Events:
    """Drop each event with probability `share`."""
    return events[random.random(len(events)) >= share]


SHIFTS: dict[str, faults.Fault | None] = {
    "none": None,
    **{f"noise, {hz} Hz a pixel": partial(faults.noise, hz=hz) for hz in (5, 10, 15, 20)},
    **{f"{share:.0%} of the events lost": partial(thinned, share=share) for share in (0.5, 0.8)},
    **{f"speed, {n:g} times": partial(faults.speed, times=n) for n in (0.5, 0.7, 2, 4)},
    **{f"rotation, {n} degrees": partial(faults.turned, degrees=n) for n in (10, 20, 30, 45)},
    **{f"scale, {n:g} times": partial(faults.turned, times=n) for n in (0.7, 0.8, 1.2, 1.3)},
    "mirrored": faults.mirrored,
    "covered square, 10 px of 34": partial(faults.covered, pixels=10),
}


def recordings(root: Path) -> Shown:
    """Read the real test recordings of N-MNIST."""
    return [(read_item(item)[0], item.label) for item in list_named(TrainConfig(data="nmnist", root=str(root))).test]


def emulated(root: Path, count: int = 300) -> Shown:
    """Emulate MNIST's first test images, each before a different random camera."""
    images, labels = mnist_digits(root, "t10k")
    cameras = [another_camera(np.random.default_rng([1, n])) for n in range(count)]
    return [(saccades(images[n], movement=camera, seed=n), int(labels[n])) for n, camera in enumerate(cameras)]


def shifted(shown: Shown, fault: faults.Fault | None) -> list[CalibrationSample]:
    """Return the recordings as seen under a fault."""

    def read(n: int) -> tuple[Events, SensorSize]:
        events, random = shown[n][0], np.random.default_rng([77, n])
        return (events if fault is None else fault(events, NMNIST_SENSOR, random)), NMNIST_SENSOR

    return [CalibrationSample(partial(read, n), label) for n, (_, label) in enumerate(shown)]


def measure_shift(
    name: str, classifier: Classifier, takes: Sequence[CalibrationSample], error_rate: float, rounds: int
) -> None:
    """Measure one shift and add its row to the table."""
    made = (streams(classifier.contract, takes, 77 + n, gaps=n % 2 > 0, things=THINGS) for n in range(rounds))
    free, watched, after, count = list[Seen](), list[Seen](), list[float](), 0
    for stream in with_progress(chain(*made), name, "stream"):
        tracks, found = [classifier.stream_readout(error_rate) for _ in range(2)], list[Seen]()
        tracks[0].threshold = None
        for seen, found in zip((free, watched), follow(classifier, stream, tracks)):
            seen += found
        count += 1
        ends = [*stream.begins[1:], int(stream.events["t"][-1])]
        after += [end / 1e6 for end, one in zip(ends, found) if one.shifted][:1]
    row = [
        float(len(free)),
        *(float(sum(np.isfinite(one.right_ms) for one in seen)) for seen in (free, watched)),
        *(float(sum(one.wrong for one in seen)) for seen in (free, watched)),
        float(count),
        float(len(after)),
        float(median(after)) if after else "-",
    ]
    say_row(name, row)


def false_alarms(classifier: Classifier, takes: Sequence[CalibrationSample], rounds: int) -> None:
    """Count the clean streams that raise the alarm and add their rows to the table."""
    line = classifier.card.alarm
    assert classifier.trials is not None
    assert line is not None
    made = chain(*(streams(classifier.contract, takes, 99 + n, gaps=n % 2 > 0) for n in range(rounds)))
    familiar = classifier.trials.familiarity
    short = [[familiar(known) for known in read_stream(classifier, stream)[1]] for stream in made]
    random, long = np.random.default_rng(4), list[list[float]]()
    for _ in range(LONG_STREAMS):
        windows = list[float]()
        while len(windows) < LONG:
            windows += short[random.integers(len(short))]
        long.append(windows[:LONG])
    for name, each in ((f"{THINGS // 5} things", short), (f"{LONG} windows", long)):
        off = sum(highest(p_values) > line for p_values in each)
        say_row(name, [float(len(each)), float(off), *(100 * side for side in interval(off, len(each)))])


def measure_sets(name: str, classifier: Classifier, takes: Sequence[CalibrationSample], rounds: int) -> None:
    """Measure the sets of labels at three error rates and add their rows to the table."""
    rates, steps, labels = (0.1, 0.05, 0.01), classifier.contract.steps, classifier.labels
    made = chain(*(streams(classifier.contract, takes, 55 + n, gaps=n % 2 > 0) for n in range(rounds)))
    found = {rate: list[tuple[bool, int, bool, bool, int]]() for rate in rates}
    for stream in with_progress(made, name, "stream"):
        inputs = classifier.event_inputs(stream.events, stream.sensor)
        for rate in rates:
            track = classifier.stream_readout(rate)
            track.threshold = None
            said = [one.prediction.commitment for one in Stepper(classifier, track).steps(inputs)]
            for part, label, _ in stream.things([given.end_us for given in inputs]):
                sets = [one.set for one in said[part][:steps] if one is not None]
                late = [one for one in said[part][steps // 2 :] if one is not None]
                alone = next((n for n, one in enumerate(sets, 1) if len(one) == 1), steps)
                right = any(one is not None and one.label == labels[label] for one in said[part])
                wrong = any(one.label not in (None, labels[label]) for one in late)
                covered = all(labels[label] in one.set for one in late)
                found[rate].append((covered, alone, right, wrong, len(sets[-1])))
    for rate, things in found.items():
        covered, alone, right, wrong, size = (float(np.mean(each)) for each in zip(*things))
        row = [float(len(things)), 100 * covered, alone, size, 100 * right, 100 * wrong]
        say_row(f"{name}, {rate:.0%}", row)


def say_row(name: str, cells: Sequence[report.Cell]) -> None:
    """Add a row to the table and print it."""
    report.row(name, *cells)
    print(f"{name:28}", *(cell if isinstance(cell, str) else f"{cell:.4g}" for cell in cells), flush=True)


@dataclass(frozen=True)
class Asked:
    """A model's results on the recordings of one camera, one entry a recording."""

    right: list[bool]
    labelled: list[bool]
    warned: list[bool]
    far: list[float]  # of the input statistic that is furthest outside the training range
    counts: list[NDArray[np.float32]]  # log counts, the input of the baselines

    @classmethod
    def of(cls, classifier: Classifier, shown: Iterable[Recording]) -> "Asked":
        found, profile, contract = cls([], [], [], [], []), classifier.card.profile, classifier.contract
        assert profile is not None
        for events, sensor, label in shown:
            pipeline = InputPipeline(classifier.card, sensor)
            inputs = list(pipeline.recording([events]))[: contract.steps]
            last, x = classifier.predict(inputs)[-1], np.stack([given.x for given in inputs])
            seen = measure(x, contract.trained_us)
            found.right.append(classifier.labels[last.index] == label)
            found.labelled.append(last.label in classifier.labels)
            found.warned.append(pipeline.watch.says is not None)
            found.far.append(max(profile.far(seen).values()) if seen.rate > QUIET * profile.middle.rate else 1.0)
            found.counts.append(log_counts(x[None])[0])
        return found

    def cells(self, own: "Asked") -> list[report.Cell]:
        """Return the cells that all camera tables share; `own` holds the results of the first camera."""
        n, right = len(self.right), sum(self.right)
        low, high = interval(right, n)
        told = auroc(np.array(self.far), np.array(own.far))
        shares = right / n, low, high, sum(self.labelled) / n, sum(self.warned) / n
        return [float(n), *(100 * share for share in shares), "-" if told is None or self is own else told]


def before(camera: Camera | None, image: NDArray[np.uint8], seed: int, label: str) -> Recording:
    """Emulate a picture moved by saccades before a camera (None: N-MNIST's)."""
    if camera is None:
        return saccades(image, seed=seed), NMNIST_SENSOR, label
    size = SensorSize(min(camera.size.width, REGION), min(camera.size.height, REGION))
    camera = replace(camera, size=size)
    events = saccades(image, size, movement=replace(NMNIST, **camera.pixels()), seed=seed)
    return camera.heated(events, seed), size, label


def printed_before(characters: str, count: int, seed: int) -> Iterator[Recording]:
    """Yield printed characters that pass a 32 x 32 camera with Speck's pixels once, in 0.11 s."""
    random = np.random.default_rng(seed)
    small = replace(CAMERAS["speck"], size=SensorSize(32, 32))
    for number, character in enumerate(random.choice(list(characters), count).tolist()):
        step = random.uniform(3, 5) * np.exp(2j * np.pi * random.random())
        path = ((3 - step.real / 2, 3 - step.imag / 2), (3 + step.real / 2, 3 + step.imag / 2))
        passing = replace(NMNIST, path_px=path, starts_ms=(0.0,), lengths_ms=(110.0,), total_ms=110.0)
        image = centred(glyph(character, random))
        events = saccades(image, small.size, movement=replace(passing, **small.pixels()), seed=seed + number)
        yield small.heated(events, seed), small.size, character


def digits_before(classifier: Classifier, root: Path, each: int, seed: int) -> None:
    """Test the shipped model with each camera, and on print."""
    columns = "recordings", "right, %", "low", "high", "labelled, %", "warned, %", "AUROC"
    report.table("Other cameras: digits, as shipped", "camera", *columns)
    images, labels = mnist_digits(root, "t10k")
    rows = np.random.default_rng(seed).permutation(len(images))[: 10 * each].tolist()
    own = None
    for name, camera in {"N-MNIST's": None, **CAMERAS}.items():
        if name == "atis":
            continue  # N-MNIST's, whole
        shown = (before(camera, images[row], row, str(labels[row])) for row in rows)
        found = Asked.of(classifier, with_progress(shown, name, "recording", len(rows)))
        own = own or found
        say_row(name, found.cells(own))
    assert own is not None
    for name, characters in (("digits", "0123456789"), ("letters", "ACEFGHJKLMNPRTUVWXYZ")):
        shown = with_progress(printed_before(characters, 10 * each, seed), "print", "recording", 10 * each)
        say_row(f"print, 32 x 32: {name}", Asked.of(classifier, shown).cells(own))


def clothes_before(root: Path, each: int, seed: int) -> None:
    """Test a head taught with the first camera on each, and heads taught FEW examples of each, alone and with its."""
    columns = "recordings", "right, %", "low", "high", "labelled, %", "warned, %", "AUROC"
    report.table(
        "Other cameras: clothes, taught before the first", "camera", *columns, "RBF, %", "five, %", "and five, %"
    )
    images, network = IMAGES["fashionmnist"](root).train, backbone("nmnist")
    random, parts = np.random.default_rng([seed, 43]), dict[str, list[int]]()
    for label in range(len(FASHION)):
        mine = random.permutation(np.flatnonzero(images.labels == label)).tolist()
        for part, count in (("learnt", LEARNT), ("few", FEW), ("asked", each)):
            parts[part] = [*parts.get(part, []), *(mine.pop() for _ in range(count))]

    def shown(camera: Camera, part: str) -> Iterator[Recording]:
        for row in with_progress(parts[part], f"{part} before {camera.size}", "recording"):
            image = np.ascontiguousarray(images.frames[row, 0, 0])
            yield before(camera, image, row, FASHION[images.labels[row]])

    def taught(camera: Camera, part: str) -> FewShotLearner:
        length, count = round(NMNIST.total_ms * 1000), len(parts[part])
        learner = FewShotLearner(network, camera.size, CLIP_STEPS, length // CLIP_STEPS, CLIP_SLICES, copies_for(count))
        for number, (events, sensor, label) in enumerate(shown(camera, part)):
            counts.append(log_counts(learner.show(Example(label, f"{part} {number}", events, sensor))[None])[0])
        return learner

    def model_of(learner: FewShotLearner, also: Sequence[EmbeddedExample] = ()) -> Classifier:
        return Classifier(*learner.learn(shown=[*learner.shown, *also]).checkpoint({}, {}))

    first, own, counts = CLOTHES[0], None, list[NDArray[np.float32]]()
    begun = taught(CAMERAS[first], "learnt")
    learnt, model = np.stack(counts), model_of(begun)
    truth = {part: images.labels[rows] for part, rows in parts.items()}
    for name in CLOTHES:
        asked = list(shown(CAMERAS[name], "asked"))
        found = Asked.of(model, asked)
        own = own or found
        answers = predictions(learnt, truth["learnt"], np.stack(found.counts))
        rbf = float((answers["RBF kernel on log counts"] == truth["asked"]).mean())
        few = taught(CAMERAS[name], "few")
        again = (Asked.of(model_of(few, also), asked).right for also in ((), begun.shown))
        say_row(name, [*found.cells(own), 100 * rbf, *(100 * sum(right) / len(right) for right in again)])


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--root", type=Path, required=True, metavar="FOLDER", help="where nmnist and mnist lie")
    parser.add_argument("--model", default="nmnist", help="a shipped model's name or a checkpoint folder")
    parser.add_argument("--bin-ms", type=float, help="length of a step; the model's own without")
    parser.add_argument("--error-rate", type=float, default=0.05)
    parser.add_argument("--each", type=int, default=5, help="recordings of a class before each camera (default 5)")
    parser.add_argument("--seed", type=int, default=7, help="of what is drawn of them (default 7)")
    parser.add_argument("--rounds", type=int, default=6, help="in which each recording comes once (default 6)")
    parser.add_argument("--only", nargs="+", default=PARTS, choices=PARTS, help="these parts")
    args = parser.parse_args()
    classifier = Classifier.load(find(args.model))
    classifier = classifier if args.bin_ms is None else classifier.at(args.bin_ms)
    columns = "things", "rightly", "rightly, with alarm", "wrongly", "before the alarm"
    columns = *columns, "streams", "alarms", "alarm after, s"
    for title, made in (("recordings", recordings), ("emulated", emulated)):
        if title not in args.only:
            continue
        shown = made(args.root)
        report.table(f"False alarms: {title}", "streams of", "streams", "alarms", "low, %", "high, %")
        false_alarms(classifier, shifted(shown, None), 2 * args.rounds)
        report.table(f"Commitments under shifts: {title}", "shift", *columns)
        for name, fault in SHIFTS.items():
            measure_shift(name, classifier, shifted(shown, fault), args.error_rate, args.rounds)
    if "sets" in args.only:
        columns = "things", "covered, %", "steps until one label", "labels after T steps", "rightly, %", "wrongly, %"
        report.table("Sets of labels", "recordings, error rate", *columns)
        measure_sets("N-MNIST", classifier, shifted(recordings(args.root), None), 4)
        if files := sorted((args.root / "mnist_dvs").glob("*/*.npz")):
            boxed = [(on_its_box(read_recording(file).events), int(file.parent.name)) for file in files]
            measure_sets("MNIST-DVS on its box", classifier, shifted(boxed, None), 20)
    if "digits" in args.only:
        digits_before(classifier, args.root, args.each, args.seed)
    if "clothes" in args.only:
        clothes_before(args.root, args.each, args.seed)
    report.write("shifts", args.json)


if __name__ == "__main__":
    main()
