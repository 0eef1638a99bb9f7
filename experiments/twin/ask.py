"""Ask the twins: accuracy by question and by time seen, few examples on frozen features, operations and time."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.common.networks import exported, folded, inference, installed, onnx_runtime, openvino, quantised
from benchmarks.common.timing import paired
from experiments.metering import measure
from experiments.twin.questions import DRAWS, FewShots, Question
from experiments.twin.train import OneFrame
from spikesight.models.engine.engine import Engine
from spikesight.models.networks.resnet import SpikingResNet
from spikesight.models.networks.taught import LEAST_RATE, in_places
from spikesight.models.neurons.layers import Neuron, watching
from spikesight.models.neurons.state import State
from spikesight.models.teach.few_shot import PLACES
from spikesight.models.teach.head import Regression
from spikesight.training.run.baselines import log_counts, predictions

BATCH = 50
METERED = 64  # windows to count operations on
RESAMPLED = 2000  # draws of a bootstrap
ROUNDS = 41  # of timings, in turns
Right = dict[str, NDArray[np.float64]]  # share right of each unit [U], by question; a unit is a sample or a draw


@torch.inference_mode()
def so_far(network: SpikingResNet, x_seq: Tensor) -> Tensor:
    """Return the logits after each step, [T, N, K], by all that was seen until then: the mean of the steps' outputs, or
    the output of one frame.
    """
    if isinstance(network, OneFrame):
        return torch.cat([network(x_seq[: t + 1])[0] for t in range(len(x_seq))])
    logits = network(x_seq)[0]
    return logits.cumsum(0) / torch.arange(1, len(logits) + 1).view(-1, 1, 1)


def answer(network: SpikingResNet, asked: Question) -> NDArray[np.float32]:
    """Return the logits after each step of each sample, [M, T, K]."""
    parts = (asked.frames[n : n + BATCH] for n in range(0, len(asked.frames), BATCH))
    return np.concatenate([so_far(network, _sequence(part)).transpose(0, 1).numpy() for part in parts])


def _sequence(frames: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(frames).transpose(0, 1).float()


def right(logits: NDArray[np.float32], asked: Question) -> NDArray[np.float64]:
    """Return whether the best guess at each sample's end is right, [M]."""
    return (logits[np.arange(len(logits)), asked.bins - 1].argmax(1) == asked.truth).astype(float)


def told_apart(digits: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return for each of `others` [M] the share of `digits` whose highest logit is above its own: the mean is AUROC."""
    return np.array([float((digits > one).mean()) for one in others])


def by_time(logits: NDArray[np.float32], asked: Question) -> list[float]:
    """Return the share of best guesses that are right after each step."""
    return (logits.argmax(2) == asked.truth[:, None]).mean(0).tolist()


@torch.inference_mode()
def features(network: SpikingResNet, x_seq: Tensor, slices: int) -> NDArray[np.float32]:
    """Return square roots of the layers' mean outputs by place and slice of time, [M, F], as `teach` has them; a
    network of one frame gets one for each slice.
    """
    found: list[Tensor] = []

    def keep(_: str, __: object, ___: Tensor, y: Tensor) -> None:
        found.append(in_places(y.mean(0), PLACES))

    rows = []
    for part in x_seq.split(BATCH, 1):
        state: State = {}
        found.clear()
        with watching(network, Neuron, keep):
            for piece in part.tensor_split(slices):
                _, state = network(piece.float(), state)
        rows.append(torch.cat(found, 1))
    return torch.sqrt(torch.cat(rows) + LEAST_RATE).numpy()


def learn_few(network: SpikingResNet, data: FewShots) -> Right:
    """Return the share of right answers of each draw of examples, [DRAWS], by number of examples."""
    x, found = features(network, data.x_seq, data.slices), Right()
    for shots in data.shots:
        shares = []
        for number in range(DRAWS):
            learnt, asked = data.draw(shots, number)
            head = Regression(x[learnt][:, None], data.labels[learnt], int(data.labels.max()) + 1).head(1.0)
            chosen = (x[asked] @ head.weight.T + head.bias).argmax(1)
            shares.append(float((chosen == data.labels[asked]).mean()))
        found[f"{data.what}, {shots} a class"] = np.array(shares)
    return found


def machines(frames: NDArray[np.uint8], labels: NDArray[np.int64], asked: Sequence[Question]) -> dict[str, Right]:
    """Return what ridge regression and a kernel machine answer, by name, that learnt from these samples' counts."""
    digits = [one for one in asked if one.truth.max() < 10]
    given = np.concatenate([log_counts(one.frames) for one in digits])
    ends = np.cumsum([len(one.frames) for one in digits])[:-1]
    found: dict[str, Right] = {}
    for name, chosen in predictions(log_counts(frames), labels, given).items():
        parts = zip(digits, np.split(chosen, ends))
        found[name] = {one.what: (part == one.truth).astype(float) for one, part in parts}
    return found


def difference(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return by how much `first` [S, U] is ahead of `second`, of the same seeds and units, and the 95 % interval of a
    bootstrap over both.

    >>> difference(np.ones((2, 4)), np.zeros((2, 4)))
    (1.0, 1.0, 1.0)
    """
    gap, random = first - second, np.random.default_rng(0)
    seeds, units = gap.shape
    drawn = [
        gap[np.ix_(random.integers(seeds, size=seeds), random.integers(units, size=units))].mean()
        for _ in range(RESAMPLED)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(gap.mean()), float(low), float(high)


def costs(network: SpikingResNet, asked: Question) -> dict[str, float]:
    """Count operations of a window: those with a non-zero input, and all."""
    x_seq = _sequence(asked.frames[:: max(1, len(asked.frames) // METERED)])
    return measure(network, x_seq[:, :METERED])._asdict()


def times(networks: Mapping[str, SpikingResNet], asked: Question, windows: int = 10) -> dict[str, float]:
    """Return milliseconds that a window takes on one core, by twin and program; `windows`: of how many classes."""
    torch.set_num_threads(1)
    rows = [int(np.flatnonzero(asked.truth == k)[0]) for k in range(windows)]
    given = [_sequence(asked.frames[row : row + 1]).contiguous() for row in rows]
    variants: dict[str, Callable[[], object]] = {}
    with TemporaryDirectory() as folder:
        for name, network in networks.items():
            if network.config.neuron.kind == "lif":
                engine = Engine(network, *given[0].shape[3:])
                variants[f"{name}: our engine"] = _each([lambda x=x, e=engine: e.run(x) for x in given])
            plain = folded(network)
            variants[f"{name}: PyTorch"] = _each([inference(plain, x) for x in given])
            if not installed("onnxruntime"):
                continue
            file = exported(network, given[0], Path(folder) / f"{name}.onnx")
            small = quantised(file, given[0])
            runs = {"ONNX Runtime": onnx_runtime(file, given[0]), "ONNX Runtime int8": onnx_runtime(small, given[0])}
            if installed("openvino"):
                runs["OpenVINO int8"] = openvino(small, given[0], "f32")
            for words, run in runs.items():  # one session for all inputs, whose weights stay in the cache
                variants[f"{name}: {words}"] = _each([lambda x=x, run=run: run(x) for x in given])
        timings = paired(variants, next(iter(variants)), ROUNDS)
    return {name: timing.milliseconds / windows for name, timing in timings.items()}


def _each(calls: Iterable[Callable[[], object]]) -> Callable[[], None]:
    kept = list(calls)

    def run() -> None:
        for call in kept:
            call()

    return run
