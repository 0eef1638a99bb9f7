"""Accuracy after few examples a class, over many random draws of classes and examples.

    python -m benchmarks.few_shots ../shared/data/sign --shots 5 20
    python -m benchmarks.few_shots ../shared/data/nmnist --features motions --shots 5 --draws 10

Each draw picks `--ways` random classes of the folder and `--shots` random recordings of each, and learns them as
`spikesight teach` does. The model then classifies every recording in test/ of those classes, from zero state.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.common import report
from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.recordings.files import read_recording
from spikesight.models.classifier import Classifier
from spikesight.models.teach.few_shot import EmbeddedExample, FewShotLearner, backbone
from spikesight.training.data.folders import read_folder
from spikesight.training.progress import with_progress
from spikesight.training.teach.examples import COPIES, copies_for, plan, read_examples

Asked = tuple[str, Events, SensorSize]


def embedded(folder: Path, features: str) -> FewShotLearner:
    """Return a few-shot learner that has embedded every training recording of a folder."""
    found = plan(folder)
    lesson = FewShotLearner(backbone(features), found.sensor, found.steps, found.bin_us, found.slices, COPIES)
    for example in with_progress(read_examples(found), "showing", count=len(found.items)):
        lesson.show(example)
    return lesson


def read_test_split(folder: Path) -> Iterator[Asked]:
    """Yield (class, events, sensor size) of every recording in test/."""
    for take in read_folder(folder).takes:
        if take.part == "test":
            recording = read_recording(take.path)
            yield take.label, recording.events, recording.size


def drawn(lesson: FewShotLearner, ways: int, shots: int, random: np.random.Generator) -> list[EmbeddedExample]:
    """Draw `shots` examples (0: all) of each of `ways` classes (0: all), with their augmented copies."""
    labels = sorted(random.permutation(lesson.labels)[: ways or None])
    chosen: list[EmbeddedExample] = []
    for label in labels:
        mine = [shown for shown in lesson.shown if shown.label == label]
        chosen += [mine[n] for n in sorted(random.permutation(len(mine))[: shots or None])]
    looks = 1 + copies_for(len(chosen))
    return [replace(shown, features=shown.features[:looks]) for shown in chosen]


def accuracy(lesson: FewShotLearner, shown: list[EmbeddedExample], asked: Sequence[Asked]) -> float:
    """Learn a head from the examples `shown`; return its accuracy on test recordings of their classes, in %."""
    taught = lesson.learn(shown=shown)
    model = Classifier(*taught.checkpoint({}, {}), ann_macs=1)
    mine = [(label, events, size) for label, events, size in asked if label in taught.labels]
    right = [taught.labels[model.predict_events(e, size)[-1].index] == label for label, e, size in mine]
    return 100 * float(np.mean(right))


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("folder", type=Path, help="train/<class>/<file> and test/<class>/<file>")
    parser.add_argument("--features", default="nmnist", help="the frozen network (default nmnist)")
    parser.add_argument("--ways", type=int, default=0, help="classes of a draw (default all)")
    parser.add_argument("--shots", type=int, nargs="+", default=[5, 20], help="examples a class (0: all)")
    parser.add_argument("--draws", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    lesson, asked = embedded(args.folder, args.features), list(read_test_split(args.folder))
    ways = args.ways or len(lesson.labels)
    title = f"Few examples of {args.folder.name}, {ways} classes, features of {args.features}, % right"
    report.table(title, "examples a class", "mean", "worst draw", "best draw", "draws", "asked a draw")
    most = max(lesson.counts().values())
    for shots in args.shots:
        random = np.random.default_rng([args.seed, ways, shots])
        draws = args.draws if 0 < shots < most or ways < len(lesson.labels) else 1  # all draws would be equal
        counted = with_progress(range(draws), f"{shots} shots")
        found = [accuracy(lesson, drawn(lesson, ways, shots, random), asked) for _ in counted]
        mine = len(asked) * ways // len(lesson.labels)
        report.row(str(shots or "all"), float(np.mean(found)), min(found), max(found), float(draws), float(mine))
        print(f"{title}: {shots or 'all'}: {np.mean(found):.1f} ({min(found):.1f} to {max(found):.1f})", flush=True)
    report.write("few_shots", args.json)


if __name__ == "__main__":
    main()
