"""Results of a comparison, stored as JSON so that no job runs twice; unknown keys are ignored."""

import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from spikesight.training.compare.config import CompareConfig
from spikesight.training.run.report import write_whole

VERSION = 2  # of the results on disk
Say = Callable[[str], None]


@dataclass(frozen=True)
class Cost:
    """Mean cost of one image: additions, multiply-adds, spikes and membrane updates."""

    macs: float  # multiply-accumulates with non-zero input
    acs: float  # accumulates that spikes cause
    rate: float = 0.0  # spikes a neuron a step
    spikes: float = 0.0
    updates: float = 0.0  # of membranes

    @property
    def operations(self) -> float:
        """Synaptic operations: multiply-accumulates and accumulates."""
        return self.macs + self.acs


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a job, stored with the job's name and its duration in seconds."""

    name: str = ""
    seconds: float = 0.0

    @property
    def summary(self) -> str:
        """Summary for the progress output, one line."""
        return "done"


@dataclass(frozen=True, kw_only=True)
class AnnResult(Result):
    """Accuracy of the ANN on all test images and on those of the curves, in per cent."""

    accuracy: float
    images: int
    accuracy_here: float  # on the images of the curves
    images_here: int
    held_accuracy: float | None = None  # on the images on which methods are chosen
    macs: float  # of one image
    activations: int  # outputs of its ReLUs for one image

    @property
    def summary(self) -> str:
        return f"{self.accuracy:.2f} %"


@dataclass(frozen=True, kw_only=True)
class Counted(Result):
    """Number of images that a method classifies correctly."""

    method: str
    right: int
    images: int

    @property
    def summary(self) -> str:
        return f"{100 * self.right / self.images:.2f} %"


@dataclass(frozen=True, kw_only=True)
class Trial(Counted):
    """Result of a conversion method on held-out training images, at the T that it is made for."""

    steps: int

    @property
    def summary(self) -> str:
        return f"{super().summary} at T = {self.steps} on held-out training images"


@dataclass(frozen=True, kw_only=True)
class CurvePiece(Result):
    """Part of a curve: counts over some test images."""

    correct: list[int]  # images right at T = 1, 2, ...
    images: int
    ann: int  # images right by the ANN
    exits: dict[str, tuple[int, int]]  # by confidence: (steps of all images, images right) with early exit

    @property
    def summary(self) -> str:
        return f"{100 * self.correct[-1] / self.images:.2f} % (ANN {100 * self.ann / self.images:.2f} %)"


@dataclass(frozen=True, kw_only=True)
class Curve(Result):
    """Accuracy of a spiking network at every T of one run over test images."""

    method: str
    correct: list[int]  # images right at T = 1, 2, ...
    images: int
    ann_accuracy: float | None = None  # per cent, of the ANN on these images
    exits: dict[str, tuple[float, float]] = field(default_factory=dict)  # by confidence: (mean steps, per cent right)
    work: dict[str, Cost] = field(default_factory=dict)  # by T

    @property
    def summary(self) -> str:
        ann = "" if self.ann_accuracy is None else f", its ANN {self.ann_accuracy:.2f} %"
        return f"{self.at(self.steps):.2f} % at T = {self.steps}{ann}"

    @property
    def steps(self) -> int:
        """The largest number of steps T that was measured."""
        return len(self.correct)

    def at(self, steps: int) -> float:
        """Per cent right at T = steps, from 1."""
        return 100 * self.correct[steps - 1] / self.images


@dataclass(frozen=True, kw_only=True)
class Costs(Result):
    """Operations of one image at a few T."""

    work: dict[str, Cost]


@dataclass(frozen=True, kw_only=True)
class StdpResult(Counted):
    """Test result of a layer trained by STDP, with a label for each neuron."""

    seed: int
    train_images: int = 0


@dataclass(frozen=True, kw_only=True)
class Results:
    """All results of a comparison, the content of results.json."""

    config: CompareConfig
    data: str
    classes: int
    ann: AnnResult
    trials: list[Trial] = field(default_factory=list)
    chosen: list[Curve] = field(default_factory=list)  # the best method, on more images
    aimed: list[Curve] = field(default_factory=list)  # the best method, converted for other T
    binary: list[Curve] = field(default_factory=list)
    direct: list[Curve] = field(default_factory=list)
    stdp: list[StdpResult] = field(default_factory=list)
    long: list[Curve] = field(default_factory=list)


R = TypeVar("R", bound=Result)


def say(text: str) -> None:
    """Print progress to standard error, separate from results."""
    print(text, file=sys.stderr)


def digest(key: Any) -> str:
    """Return a hash of twelve hexadecimal digits of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]


class Store:
    """Store of jobs' results as JSON files, by name and by a hash of the job's inputs."""

    def __init__(self, folder: Path, report: Say = say) -> None:
        self.folder, self.say = folder / "results", report
        self.folder.mkdir(parents=True, exist_ok=True)

    def get(self, kind: type[R], name: str, key: dict[str, Any], job: Callable[[], R]) -> R:
        """Return the stored result; if there is none, run the job and store its result."""
        path = self.folder / f"{name.replace('/', '-')}-{digest([VERSION, name, key])}.json"
        if path.is_file():
            self.say(f"{name}: kept")
            return TypeAdapter(kind).validate_json(path.read_text())
        self.say(f"{name} ...")
        begin = time.monotonic()
        result = replace(job(), name=name)
        result = replace(result, seconds=round(time.monotonic() - begin, 1))
        write_whole(path, json.dumps({**asdict(result), "summary": result.summary}) + "\n")
        self.say(f"{name}: {result.summary} ({result.seconds:.0f} s)")
        return result
