"""The seed paper as one command: an ANN, the same shape trained directly with spikes, the ANN converted, and STDP.

Every measurement is a job whose result is stored in the output folder under a hash of settings, pictures and weights,
so that an interrupted comparison continues where it stopped. All accuracies are on test images, with counts. Nothing is
chosen by them: direct networks are chosen by a validation split, conversions on held-out training images, all else
uses its last epoch.
"""

import hashlib
import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import TypeAdapter
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.common.metering import Report, measure
from benchmarks.compare.ann import Stepwise, ann_settings, fit_ann
from benchmarks.compare.stdp import StdpConfig, StdpLayer, rates_of
from spikesight.encoders.image import IMAGE_ENCODERS
from spikesight.models.checkpoint import load
from spikesight.models.conversion.ann_to_snn import convert
from spikesight.models.conversion.methods import METHODS
from spikesight.models.conversion.simulate import curve
from spikesight.models.networks.ann import ANNS, build_for, read_state
from spikesight.models.networks.converted.network import ConvertedNetwork
from spikesight.models.networks.metering import dense_macs
from spikesight.models.networks.resnet import NETWORKS
from spikesight.models.neurons.surrogate import SURROGATES
from spikesight.training.config import TrainConfig
from spikesight.training.conversion import hits, prepare
from spikesight.training.data import load_data
from spikesight.training.data.images import Images, Pictures, load_images
from spikesight.training.run.loop import Run
from spikesight.training.run.report import write_whole
from spikesight.training.step.batches import evaluation_input

METERED = 16  # images to count operations on
LONG = 500  # no operations are counted in runs of more steps
VERSION = 5  # of the results on disk
Say = Callable[[str], None]


@dataclass(frozen=True)
class CompareConfig:
    """Settings of a comparison: data, networks, methods and amount of training."""

    data: Annotated[str, "a set of images by name, or a folder of pictures <class>/<file>"] = "mnist"
    root: Annotated[str, "where named sets lie"] = "data"
    output: Annotated[str, "folder of results and report"] = "runs/compare"
    network: Annotated[str, "shape of the ANN and of the direct network"] = "cifar-resnet8"
    weights: Annotated[str, "state dictionary of the ANN; empty: train it"] = ""
    train_images: Annotated[int, "training images of the ANN and the direct networks"] = 60_000
    ann_epochs: Annotated[int, "epochs of the ANN's training"] = 3
    direct_epochs: Annotated[int, "epochs of each direct network's training"] = 3
    direct: Annotated[tuple[str, ...], "direct training: encoding/surrogate/T"] = (
        "direct/arctan/4",
        "direct/arctan/10",
    )
    methods: Annotated[tuple[str, ...], "conversion methods"] = (
        "rueckauer-max", "rueckauer", "sengupta", "hard-reset", "ltb", "ours", "bounded",
    )  # fmt: skip
    held: Annotated[int, "training images that no network learns from: the best method is chosen on them"] = 1000
    steps: Annotated[int, "T of every conversion curve"] = 64
    aim: Annotated[int, "T that thresholds and calibration are made for, and that a method is chosen at"] = 32
    images: Annotated[int, "test images of a curve, the first of a seeded order"] = 2000
    chosen_images: Annotated[int, "test images that the chosen method is read on, up to its aim"] = 10_000
    long: Annotated[tuple[str, ...], "methods followed to `long_steps`"] = ("rueckauer", "ours")
    long_steps: Annotated[int, "T of the long curves"] = 2500
    long_images: Annotated[int, "test images of a long curve"] = 200
    calibration: Annotated[int, "unlabelled training images that conversions are calibrated on"] = 512
    stdp_neurons: Annotated[int, "neurons of the STDP layer (grey images only); 0 leaves it out"] = 100
    stdp_images: Annotated[int, "training images of STDP"] = 20_000
    stdp_seeds: Annotated[tuple[int, ...], "one STDP network a seed"] = (0, 1, 2)
    seed: Annotated[int, "seed of everything else that is drawn"] = 0


QUICK = {
    "train_images": 6000,
    "direct": ("direct/arctan/4",),
    "methods": ("rueckauer", "sengupta", "ours"),
    "held": 500,
    "steps": 32,
    "images": 500,
    "chosen_images": 500,
    "long": ("rueckauer",),
    "long_steps": 500,
    "long_images": 50,
    "calibration": 256,
    "stdp_images": 3000,
    "stdp_seeds": (0,),
}
"""Settings that `--quick` changes: minutes on two cores instead of an hour."""


@dataclass(frozen=True)
class Cost:
    """Mean cost of one image: operations, spikes a neuron a step, and membrane updates."""

    macs: float  # multiply-accumulates with non-zero input
    acs: float = 0.0  # accumulates that spikes cause
    rate: float = 0.0
    updates: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Images that a network gets right at every T of one run; an ANN's and STDP's have one T."""

    method: str
    correct: list[int]  # images right at T = 1, 2, ...
    images: int
    ann_correct: int | None = None  # of these images, by the ANN
    work: dict[str, Cost] = field(default_factory=dict)  # by T

    @property
    def steps(self) -> int:
        """The largest number of steps T that was measured."""
        return len(self.correct)

    def at(self, steps: int) -> float:
        """Per cent right at T = steps, from 1."""
        return 100 * self.correct[steps - 1] / self.images


@dataclass(frozen=True, kw_only=True)
class Results:
    """All results of a comparison, the content of results.json."""

    config: CompareConfig
    data: str
    ann: Curve  # on all test images
    trials: list[Curve] = field(default_factory=list)  # of every method, on held-out training images
    chosen: list[Curve] = field(default_factory=list)  # the best of them, on more images
    converted: list[Curve] = field(default_factory=list)
    direct: list[Curve] = field(default_factory=list)
    stdp: list[Curve] = field(default_factory=list)
    long: list[Curve] = field(default_factory=list)


def say(text: str) -> None:
    """Print progress to standard error, separate from results."""
    print(text, file=sys.stderr)


def cost_of(report: Report) -> Cost:
    """Return the counts of a report that a comparison stores."""
    work = report.work
    return Cost(work.effective_macs, work.effective_acs, report.spike_rate, work.neuron_updates)


def costs(network: ConvertedNetwork, x: Tensor, steps: int) -> dict[str, Cost]:
    """Count operations of an image at a few T up to `steps`; x [N, C, H, W]."""
    counted = sorted({t for t in (2, 4, 8, 16, 32) if t < steps} | {steps})
    return {str(t): cost_of(measure(network, x[None], still=True, steps=t)) for t in counted}


class Comparison:
    """The data, the ANN and the jobs of one comparison."""

    def __init__(self, config: CompareConfig, report: Say = say) -> None:
        if config.network not in ANNS:
            raise ValueError(f"unknown network {config.network!r}; known: {', '.join(ANNS)}")
        if config.direct and config.network not in NETWORKS:
            raise ValueError(f"{config.network} has no spiking network to train directly: --direct none leaves it out")
        if config.weights and not Path(config.weights).is_file():
            raise ValueError(f"no file {config.weights}: --weights names the ANN's state dictionary")
        if unknown := [m for m in (*config.methods, *config.long) if m not in METHODS]:
            raise ValueError(f"unknown method {unknown[0]!r}; known: {', '.join(METHODS)}")
        direct = f"({'|'.join(IMAGE_ENCODERS)})/({'|'.join(SURROGATES)})/[1-9][0-9]*"
        if wrong := [spec for spec in config.direct if not re.fullmatch(direct, spec)]:
            raise ValueError(f"--direct is encoding/surrogate/T, such as direct/arctan/4, not {wrong[0]}")
        self.config, self.folder, self.say = config, Path(config.output), report
        self.data: Pictures = load_images(config.data, Path(config.root))
        self.identity = self._identity()
        count, aside = len(self.data.train), np.random.default_rng([config.seed, 1])
        held = np.isin(np.arange(count), aside.permutation(count)[: min(config.held, count // 2)])
        self.train, self.held = self.data.train[~held], self.data.train[held]
        self.calibration = self.prepared(self.train.subset(config.calibration, config.seed))
        self.test = self.data.test.shuffled(config.seed)
        self.converted = cache(self._converted)

    def _identity(self) -> str:
        """Return a hash of settings, pictures and weights, wherever these lie: twelve hexadecimal digits."""
        c, parts = self.config, [part for of in (self.data.train, self.data.test) for part in (of.pixels, of.labels)]
        settings = replace(c, data=self.data.name, root="", output="", weights="")
        weights = Path(c.weights).read_bytes() if c.weights else b""
        whole = b"".join([f"{VERSION} {settings}".encode(), weights, *(part.tobytes() for part in parts)])
        return hashlib.sha256(whole).hexdigest()[:12]

    def kept(self, name: str, job: Callable[[], Curve]) -> Curve:
        """Return the stored result; if there is none, run the job and store its result."""
        path = self.folder / "results" / f"{name.replace('/', '-')}-{self.identity}.json"
        if path.is_file():
            self.say(f"{name}: kept")
            return TypeAdapter(Curve).validate_json(path.read_text())
        self.say(f"{name} ...")
        begin = time.monotonic()
        found = job()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(asdict(found)) + "\n")
        words = f"{found.at(found.steps):.2f} % of {found.images} at T = {found.steps}"
        self.say(f"{name}: {words} ({time.monotonic() - begin:.0f} s)")
        return found

    def prepared(self, images: Images) -> Tensor:
        return prepare(images.pixels, self.data.mean, self.data.std)

    # --- the ANN ---

    def ann(self) -> tuple[nn.Module, Curve]:
        """Return the trained ANN and its result on all test images."""
        path = self.folder / f"ann-{self.identity}.safetensors"

        def job() -> Curve:
            network = self._train_ann()
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path)
            right = self.right(network, self.test)
            macs = dense_macs(Stepwise(network), *self.test.pixels.shape[1:])
            return Curve(method="ANN", correct=[right], images=len(self.test), work={"1": Cost(macs)})

        result = self.kept("ann", job)
        return build_for(self.config.network, read_state(path)), result

    def right(self, ann: nn.Module, images: Images) -> int:
        """Return how many of these images an ANN gets right."""
        return int(hits(ann, self.prepared(images), images.labels).sum())

    def _train_ann(self) -> nn.Module:
        c, data = self.config, self.data
        if c.weights:
            return build_for(c.network, read_state(Path(c.weights)))
        torch.manual_seed(c.seed)
        flip = self.train.pixels.shape[1] == 3
        network = ANNS[c.network].build(self.train.pixels.shape[1], len(data.classes))
        settings = ann_settings(c.ann_epochs, shift=4 if flip else 2, flip=flip, seed=c.seed)
        return fit_ann(network, self.train.subset(c.train_images, c.seed), data.mean, data.std, settings, self.say)

    # --- conversion ---

    def _converted(self, ann: nn.Module, method: str) -> ConvertedNetwork:
        return convert(ann, list(self.calibration.split(64)), method, steps=self.config.aim, seed=self.config.seed)

    def trial(self, ann: nn.Module, method: str) -> Curve:
        """Test a method, converted for T = aim, on held-out training images."""
        return self._curve(ann, method, self.config.aim, self.held, f"trial/{method}")

    def conversion(self, ann: nn.Module, method: str, steps: int, count: int) -> Curve:
        """Measure accuracy at every T of one run over `count` test images, and operations at a few T of short runs."""
        return self._curve(ann, method, steps, self.test[:count], f"convert/{method}/{steps}/{count}")

    def _curve(self, ann: nn.Module, method: str, steps: int, images: Images, name: str) -> Curve:
        def job() -> Curve:
            x, network = self.prepared(images), self.converted(ann, method)
            return Curve(
                method=method,
                correct=curve(network, x, torch.from_numpy(images.labels), steps).correct.tolist(),
                images=len(images),
                ann_correct=self.right(ann, images),
                work={} if steps > LONG else costs(network, x[:METERED], steps),
            )

        return self.kept(name, job)

    # --- direct training ---

    def direct(self, spec: str) -> Curve:
        """Train a spiking network of the same shape directly; `spec` is `encoding/surrogate/T`."""
        c, test = self.config, self.test[: self.config.images]
        encoding, surrogate, steps = spec.split("/")
        channels, height, width = test.pixels.shape[1:]
        settings = TrainConfig(
            data=c.data, root=c.root, network=c.network, encoding=encoding, surrogate=surrogate, steps=int(steps),
            height=height, width=width,
            epochs=c.direct_epochs, batch_size=128, lr=4e-3, warmup_epochs=0.3, ema=0.995, loss="tet",
            seed=c.seed, device="cpu", rotate=0.0, drop=0.0, flip=channels == 3,
            cache=str(self.folder / "cache"), output=str(self.folder),
        )  # fmt: skip

        def job() -> Curve:
            data = load_data(settings)
            rows = np.random.default_rng(c.seed).permutation(len(data.train))[: c.train_images]
            data = replace(data, train=data.train.take(np.sort(rows)))
            folder = self.folder / f"direct-{spec.replace('/', '-')}-{self.identity}"
            run = Run(data, folder)
            if run.progress_path.is_file():
                run.resume()
            run.train()
            network, _ = load(folder / "checkpoints" / "best")
            stored = torch.from_numpy(test.pixels[:, None].copy())
            correct = np.zeros(int(steps), np.int64)
            with torch.no_grad():
                for part, labels in zip(stored.split(100), torch.from_numpy(test.labels).split(100)):
                    logits, _ = network(evaluation_input(part, data.contract))
                    correct += (logits.cumsum(0).argmax(2) == labels).sum(1).numpy()
                work = {steps: cost_of(measure(network, evaluation_input(stored[:METERED], data.contract)))}
            return Curve(method=spec, correct=correct.tolist(), images=len(test), work=work)

        return self.kept(f"direct/{spec}", job)

    # --- STDP ---

    def stdp(self, seed: int) -> Curve:
        """Train by unsupervised STDP; each neuron gets the training label to which it responds most."""
        c = self.config

        def job() -> Curve:
            train, test = self.train.subset(c.stdp_images, seed), self.test[: c.images]
            layer = StdpLayer(StdpConfig(inputs=int(np.prod(train.pixels.shape[1:])), neurons=c.stdp_neurons), seed)
            layer.learn(rates_of(train.pixels))
            layer.name(rates_of(train.pixels[:5000]), train.labels[:5000], len(self.data.classes))
            right = int((layer.predict(rates_of(test.pixels)) == test.labels).sum())
            method = f"{c.stdp_neurons} neurons, {len(train)} images, seed {seed}"
            return Curve(method=method, correct=[right], images=len(test))

        return self.kept(f"stdp/{seed}", job)

    def run(self) -> Results:
        """Run all jobs and write results.json."""
        c = self.config
        ann, top = self.ann()
        results = Results(config=c, data=self.data.name, ann=top)
        if c.held:
            results.trials.extend(self.trial(ann, method) for method in c.methods)
        if results.trials and c.chosen_images:
            best = max(results.trials, key=lambda t: t.correct[-1]).method
            results.chosen.append(self.conversion(ann, best, c.aim, c.chosen_images))
        results.converted.extend(self.conversion(ann, method, c.steps, c.images) for method in c.methods)
        results.direct.extend(self.direct(spec) for spec in c.direct)
        if self.data.train.pixels.shape[1] == 1 and c.stdp_neurons:  # STDP reads grey images
            results.stdp.extend(self.stdp(seed) for seed in c.stdp_seeds)
        results.long.extend(self.conversion(ann, m, c.long_steps, c.long_images) for m in c.long)
        write_whole(self.folder / "results.json", json.dumps(asdict(results)) + "\n")
        return results
