"""How well the motion model generalises: drawn motions, the same with shuffled time steps, and real video.

    python experiments/motions.py                                     drawn motions only
    python experiments/motions.py --videos ../shared/data/videos      real clips as well

On video the ground truth is the dominant direction of dense optical flow (Farneback) in a window of the model's length.
Only windows with one clear direction count. The model sees the same frames through the emulated camera.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from benchmarks.common import report
from corpora.drawn import MOTIONS, motion_recording
from experiments.films import NOTHING_MOVES, moving, watch
from spikesight.encoders.emulator.pixels import Emulator, PixelModel
from spikesight.encoders.events import SensorSize
from spikesight.model import Model
from spikesight.models.classifier import Classifier, Stepper
from spikesight.models.shipped import find
from spikesight.models.statistics import interval
from spikesight.models.steps import Input

FIRST_TEST_SEED = 1_000_000  # training recordings have smaller seeds
STRAIGHT = ("left", "right", "up", "down")
MIN_FLOW, MIN_COHERENCE = 0.15, 0.6  # picture heights a second; length of the mean flow / mean length of flow vectors


def shuffled(inputs: list, random: np.random.Generator) -> list:
    """Return the same time steps in random order, which removes all information in their order."""
    return [inputs[i]._replace(reset=n == 0) for n, i in enumerate(random.permutation(len(inputs)))]


def drawn(classifier: Classifier, count: int) -> None:
    """Print the accuracy on new drawn motions: in order, with shuffled steps, and as one stream that is never reset."""
    sensor = SensorSize(classifier.contract.sensor_width, classifier.contract.sensor_height)
    random = np.random.default_rng(0)
    right = {"in order": 0, "shuffled in time": 0, "as one stream": 0}
    made: list[tuple[list[Input], int]] = []
    for motion in MOTIONS:
        index = classifier.labels.index(motion)
        for n in range(count):
            inputs = classifier.event_inputs(motion_recording(motion, sensor, seed=FIRST_TEST_SEED + n), sensor)
            right["in order"] += classifier.predict(inputs)[-1].index == index
            right["shuffled in time"] += classifier.predict(shuffled(inputs, random))[-1].index == index
            made.append((inputs, index))
    endless = Stepper(classifier)
    for inputs, index in (made[n] for n in np.random.default_rng(0).permutation(len(made))):
        answers = [endless.step(given._replace(reset=False)) for given in inputs]
        right["as one stream"] += answers[-1].prediction.index == index
    total = count * len(MOTIONS)
    report.table("drawn motions", "recordings", "right", "of", "low", "high")
    for name, correct in right.items():
        low, high = interval(correct, total)
        print(f"drawn, {name:17} {correct}/{total} = {correct / total:.3f}  (95 % interval {low:.3f} to {high:.3f})")
        report.row(name, correct, total, low, high)


def webcam(classifier: Classifier, photos: list[Path], count: int, seed: int) -> None:
    """Print the label at the end of films of each motion, and of scenes in which nothing moves, seen as frames."""
    report.table("motions before a webcam", "films", "right", "of", "low", "high")
    total = 0
    for kind in (*MOTIONS, *NOTHING_MOVES):
        said = Counter[str]()
        for n in range(count):
            film = moving(kind, photos, np.random.default_rng((seed, n, *kind.encode())), on_circle=bool(n % 2))
            said[[step.label for step in watch(classifier, film, "frames")][-1]] += 1
        right = said["still" if kind in NOTHING_MOVES else kind]
        total += right * (kind in MOTIONS)
        report.row(kind, right, count, *interval(right, count))
        print(f"{kind}: {right} of {count} {dict(said.most_common())}", flush=True)
    every = count * len(MOTIONS)
    report.row("all nine motions", total, every, *interval(total, every))


def frames_of(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (time in microseconds, centred square grey frame) of a video."""
    video = cv2.VideoCapture(str(path))
    rate = video.get(cv2.CAP_PROP_FPS) or 30
    number = 0
    while True:
        ok, picture = video.read()
        if not ok:
            return
        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        height, width = grey.shape
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        yield round(number * 1e6 / rate), grey[top : top + side, left : left + side]
        number += 1


def flow_direction(frames: list[tuple[int, np.ndarray]]) -> str | None:
    """Return left, right, up or down if the moving pixels of a window agree on it; else None."""
    vectors = []
    for (t0, a), (t1, b) in pairwise(frames):
        small = [cv2.resize(f, (128, 128), interpolation=cv2.INTER_AREA) for f in (a, b)]
        flow = cv2.calcOpticalFlowFarneback(small[0], small[1], None, 0.5, 3, 15, 3, 5, 1.2, 0)  # type: ignore[call-overload]
        speed = flow / 128 / max(1e-6, (t1 - t0) * 1e-6)
        vectors.append(speed[np.linalg.norm(speed, axis=2) > MIN_FLOW])
    moving = np.concatenate(vectors) if vectors else np.empty((0, 2))
    if len(moving) < 0.02 * 128 * 128 * max(1, len(vectors)):
        return None
    mean = moving.mean(0)
    if np.linalg.norm(mean) < MIN_COHERENCE * np.linalg.norm(moving, axis=1).mean():
        return None
    x, y = mean
    if max(abs(x), abs(y)) < 2 * min(abs(x), abs(y)):
        return None  # a diagonal has no single name
    return ("right" if x > 0 else "left") if abs(x) > abs(y) else ("down" if y > 0 else "up")


def on_video(classifier: Classifier, path: Path) -> list[tuple[str, str]]:
    """Return (direction of the flow, model's answer) for each clear window of a clip, from zero state."""
    contract = classifier.contract
    sensor = SensorSize(contract.sensor_width, contract.sensor_height)
    camera = Emulator(sensor, PixelModel(steady=True))
    frames, parts = list(frames_of(path)), []
    for t, frame in frames:
        small = cv2.resize(frame, (sensor.width, sensor.height), interpolation=cv2.INTER_AREA)
        parts.append(camera.push(small.astype(np.uint8), t))
    events = np.concatenate(parts)
    window, answers = contract.steps * contract.bin_us, []
    for start in range(0, frames[-1][0] - window + 1, window // 2):
        truth = flow_direction([f for f in frames if start <= f[0] < start + window])
        inside = events[(events["t"] >= start) & (events["t"] < start + window)]
        if truth is not None and len(inside):
            answers.append((truth, Model(classifier).predict(inside, sensor).label))
    return answers


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--model", default="motions")
    parser.add_argument("--count", type=int, default=100, help="drawn recordings of each motion")
    parser.add_argument("--photographs", type=Path, help="a folder with *.jpg")
    parser.add_argument("--clips", type=int, default=5, help="films of a webcam of each motion")
    parser.add_argument("--seed", type=int, default=11, help="of these")
    parser.add_argument("--videos", type=Path, help="a folder with *.mkv and *.mp4, searched in depth")
    args = parser.parse_args()
    classifier = Classifier.load(find(args.model))
    drawn(classifier, args.count)
    if args.photographs is not None:
        webcam(classifier, sorted(args.photographs.glob("*.jpg"))[1::2], args.clips, args.seed)
    if args.videos is not None:
        videos(classifier, args.videos)
    report.write("motions", args.json)


def videos(classifier: Classifier, folder: Path) -> None:
    """Print the model's agreement with optical flow for every clip below a folder, and in total."""
    every: list[tuple[str, str]] = []
    for path in sorted([*folder.rglob("*.mkv"), *folder.rglob("*.mp4")]):
        answers = on_video(classifier, path)
        every += answers
        print(f"{path.name:22} {sum(t == a for t, a in answers)}/{len(answers)} windows that move clearly one way")
    if every:
        correct = sum(t == a for t, a in every)
        low, high = interval(correct, len(every))
        print(
            f"video, all {correct}/{len(every)} = {correct / len(every):.3f}  (95 % interval {low:.3f} to {high:.3f})"
        )
        report.table("motions on video", "clips", "right", "of", "low", "high")
        report.row("all", correct, len(every), low, high)
        for truth in STRAIGHT:
            said = [a for t, a in every if t == truth]
            print(f"  {truth:6}", {label: said.count(label) for label in MOTIONS if label in said})


if __name__ == "__main__":
    main()
