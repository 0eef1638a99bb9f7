"""The seed paper as one command: an ANN, the same shape trained directly with spikes, the ANN converted, and STDP.

Every measurement is a job whose result is stored in the output folder under the hash of its inputs. So an interrupted
comparison continues where it stopped, and a changed setting repeats only what it affects. All accuracies are on test
images, with counts. Nothing is chosen by them: direct networks are chosen by a validation split, conversions on
held-out training images, and everything else uses its last epoch.
"""

import hashlib
import json
import re
from dataclasses import asdict, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from spikesight.encoders.image import IMAGE_ENCODERS
from spikesight.models.checkpoint import load
from spikesight.models.conversion.ann_to_snn import convert
from spikesight.models.conversion.methods import METHODS
from spikesight.models.conversion.simulate import curve
from spikesight.models.networks.ann import ANNS, build_for, read_state
from spikesight.models.networks.converted.network import ConvertedNetwork
from spikesight.models.networks.metering import dense_macs, measure
from spikesight.models.networks.resnet import NETWORKS
from spikesight.models.networks.stdp import StdpConfig, StdpLayer, rates_of
from spikesight.models.neurons.surrogate import SURROGATES
from spikesight.training.compare.ann import accuracy, ann_settings, fit_ann, hits, prepare
from spikesight.training.compare.config import CompareConfig
from spikesight.training.compare.costs import Stepwise, activations, cost_of, costs
from spikesight.training.compare.results import (
    AnnResult,
    Cost,
    Costs,
    Curve,
    CurvePiece,
    Results,
    Say,
    StdpResult,
    Store,
    Trial,
    digest,
    say,
)
from spikesight.training.config import TrainConfig
from spikesight.training.data import load_data
from spikesight.training.data.check import count_named_read
from spikesight.training.data.images import IMAGES, Images, Pictures, load_images
from spikesight.training.flags import former_settings
from spikesight.training.run.loop import Run
from spikesight.training.run.report import write_whole
from spikesight.training.step.batches import evaluation_input

EXITS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)  # confidences of the early-exit curve
METERED = 16  # images to count operations on
BLOCK = 1000  # most test images of one stored part of a curve
BLOCK_STEPS = 100_000  # most image-steps (images x T) of such a part


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
        self.config, self.folder = config, Path(config.output)
        self.weights_hash = hashlib.sha256(Path(config.weights).read_bytes()).hexdigest() if config.weights else ""
        self.store = Store(self.folder, report)
        self.data: Pictures = load_images(config.data, Path(config.root))
        self.train, self.held = self.data.train.split(config.held, config.seed)
        self.calibration = self.prepared(self.train.subset(config.calibration, config.seed))
        self.test = self.data.test.shuffled(config.seed)
        self.converted = cache(self._converted)

    @cached_property
    def pictures_hash(self) -> str:
        """Hash of all pictures and labels: another folder may have this one's name and size."""
        parts = [part for of in (self.data.train, self.data.test) for part in (of.pixels, of.labels)]
        return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()

    def prepared(self, images: Images) -> Tensor:
        return prepare(images.pixels, self.data.mean, self.data.std)

    def data_key(self) -> dict[str, Any]:
        sizes = [len(self.train), len(self.held), len(self.test)]
        key = {"data": self.data.name, "sizes": sizes, "seed": self.config.seed}
        return key if self.config.data in IMAGES else {**key, "pictures": self.pictures_hash}

    # --- the ANN ---

    def ann_key(self) -> dict[str, Any]:
        c = self.config
        key: dict[str, Any] = {**self.data_key(), "network": c.network, "weights": self.weights_hash}
        if c.weights:
            return {**key, "tune": [c.tune_epochs, c.tune_images] if c.tune_epochs else 0}
        return {**key, "epochs": c.ann_epochs, "images": c.train_images}

    def ann(self) -> tuple[nn.Module, AnnResult]:
        """Return the trained ANN and its result."""
        c, path = self.config, self.folder / f"ann-{digest(self.ann_key())}.safetensors"

        def job() -> AnnResult:
            if path.is_file():  # trained before, but evaluated on other images
                network = build_for(c.network, read_state(path))
            else:
                network = self._train_ann()
                save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path)
            right = hits(network, self.prepared(self.test), self.test.labels)
            here, shape = right[: c.images], self.test.pixels.shape[1:]
            return AnnResult(
                accuracy=100 * float(right.mean()),
                images=len(right),
                accuracy_here=100 * float(here.mean()),
                images_here=len(here),
                held_accuracy=accuracy(network, self.prepared(self.held), self.held.labels) if c.held else None,
                macs=dense_macs(Stepwise(network), *shape),
                activations=activations(network, self.prepared(self.test[:1])),
            )

        result = self.store.get(AnnResult, "ann", {**self.ann_key(), "here": c.images}, job)
        return build_for(c.network, read_state(path)), result

    def _train_ann(self) -> nn.Module:
        c, data = self.config, self.data
        torch.manual_seed(c.seed)
        flip = self.train.pixels.shape[1] == 3
        shift = 4 if flip else 2
        if c.weights:
            network = build_for(c.network, read_state(Path(c.weights)))
            if not c.tune_epochs:
                return network
            chosen = self.train.subset(c.tune_images, c.seed)
            settings = ann_settings(c.tune_epochs, lr=0.02, shift=shift, flip=flip, seed=c.seed)
        else:
            network = ANNS[c.network].build(self.train.pixels.shape[1], len(data.classes))
            chosen = self.train.subset(c.train_images, c.seed)
            settings = ann_settings(c.ann_epochs, shift=shift, flip=flip, seed=c.seed)
        return fit_ann(network, chosen, data.mean, data.std, settings, self.store.say)

    # --- conversion ---

    def _converted(self, ann: nn.Module, method: str, aim: int) -> ConvertedNetwork:
        return convert(ann, list(self.calibration.split(64)), method, steps=aim, seed=self.config.seed)

    def conversion_key(self, method: str, aim: int) -> dict[str, Any]:
        return {**self.ann_key(), "method": repr(METHODS[method]), "aim": aim, "calibration": self.config.calibration}

    def trial(self, ann: nn.Module, method: str, aim: int) -> Trial:
        """Test a method, converted for T = aim, on held-out training images."""

        def job() -> Trial:
            x, y = self.prepared(self.held), torch.from_numpy(self.held.labels)
            right = int(curve(self.converted(ann, method, aim), x, y, aim).correct[-1])
            return Trial(method=method, steps=aim, right=right, images=len(y))

        return self.store.get(Trial, f"trial/{method}", self.conversion_key(method, aim), job)

    def conversion(self, ann: nn.Module, method: str, steps: int, aim: int, count: int) -> Curve:
        """Measure accuracy at every T of one run over `count` test images, early exit, and operations at a few T."""
        count = min(count, len(self.test))
        key, size = {**self.conversion_key(method, aim), "steps": steps}, min(BLOCK, max(10, BLOCK_STEPS // steps))

        def piece(first: int) -> CurvePiece:
            part = self.test[first : min(first + size, count)]

            def job() -> CurvePiece:
                x, y = self.prepared(part), torch.from_numpy(part.labels)
                found = curve(self.converted(ann, method, aim), x, y, steps, confidences=EXITS)
                exits = {str(e): (int(found.exit_steps[e].sum()), int(found.exit_right[e].sum())) for e in EXITS}
                right = int(hits(ann, x, part.labels).sum())
                return CurvePiece(correct=found.correct.tolist(), images=len(part), ann=right, exits=exits)

            name = f"convert/{method}/{steps}/{first}"
            return self.store.get(CurvePiece, name, {**key, "to": first + len(part)}, job)

        return joined([piece(first) for first in range(0, count, size)], method, self.work(ann, method, aim, steps))

    def work(self, ann: nn.Module, method: str, aim: int, steps: int) -> dict[str, Cost]:
        """Count operations at a few T; none for the long runs."""
        if steps > 500:
            return {}
        key = {**self.conversion_key(method, aim), "steps": steps}
        x = self.prepared(self.test[:METERED])

        def job() -> Costs:
            return Costs(work=costs(self.converted(ann, method, aim), x, steps))

        return self.store.get(Costs, f"work/{method}/{steps}", key, job).work

    # --- direct training ---

    def direct(self, spec: str) -> Curve:
        """Train a spiking network of the same shape directly; `spec` is `encoding/surrogate/T`."""
        c, test = self.config, self.test[: self.config.images]
        encoding, surrogate, steps = spec.split("/")
        channels, height, width = test.pixels.shape[1:]
        settings = TrainConfig(
            data=c.data, root=c.root, network=c.network, encoding=encoding, surrogate=surrogate, steps=int(steps),
            height=height, width=width, channels=channels,
            epochs=c.direct_epochs, batch_size=128, lr=4e-3, warmup_epochs=0.3, ema=0.995, loss="tet",
            seed=c.seed, device="cpu", rotate=0.0, drop=0.0, flip=channels == 3, channels_last=True,
            cache=str(self.folder / "cache"), output=str(self.folder),
        )  # fmt: skip
        decisive = former_settings(replace(settings, root="", cache="", output=""))
        training = {**self.data_key(), "settings": decisive, "images": c.train_images}

        def job() -> Curve:
            data = load_data(settings)
            rows = np.random.default_rng(c.seed).permutation(len(data.train))[: c.train_images]
            data = replace(data, train=data.train.take(np.sort(rows)))
            folder = self.folder / f"direct-{spec.replace('/', '-')}-{digest(training)}"
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

        return self.store.get(Curve, f"direct/{spec}", {**training, "test": c.images}, job)

    # --- STDP ---

    def stdp(self, seed: int) -> StdpResult:
        """Train by unsupervised STDP; each neuron gets the training label to which it responds most."""
        c = self.config

        def job() -> StdpResult:
            train, test = self.train.subset(c.stdp_images, seed), self.test[: c.images]
            layer = StdpLayer(StdpConfig(inputs=int(np.prod(train.pixels.shape[1:])), neurons=c.stdp_neurons), seed)
            layer.learn(rates_of(train.pixels))
            layer.name(rates_of(train.pixels[:5000]), train.labels[:5000], len(self.data.classes))
            right = int((layer.predict(rates_of(test.pixels)) == test.labels).sum())
            method = f"stdp, {c.stdp_neurons} neurons"
            return StdpResult(method=method, right=right, images=len(test), seed=seed, train_images=len(train))

        key = {**self.data_key(), "neurons": c.stdp_neurons, "images": c.stdp_images, "seed": seed, "test": c.images}
        return self.store.get(StdpResult, f"stdp/{seed}", key, job)

    def run(self) -> Results:
        """Run all jobs and write results.json."""
        c = self.config
        count_named_read(Path(c.root), c.data, "compare")
        ann, top = self.ann()
        results = Results(config=c, data=self.data.name, classes=len(self.data.classes), ann=top)
        results.trials.extend(self.trial(ann, m, c.aim) for m in c.methods if c.held)
        if results.trials and c.chosen_images:
            best = max(results.trials, key=lambda t: t.right).method
            results.chosen.append(self.conversion(ann, best, c.aim, c.aim, c.chosen_images))
            for t in c.aims:
                made = self.conversion(ann, best, t, t, c.images)
                results.aimed.append(replace(made, method=f"{best} made for T = {t}"))
        results.binary.extend(self.conversion(ann, m, c.steps, c.aim, c.images) for m in c.methods)
        results.direct.extend(self.direct(spec) for spec in c.direct)
        if self.data.train.pixels.shape[1] == 1 and c.stdp_neurons:  # STDP reads grey images
            results.stdp.extend(self.stdp(seed) for seed in c.stdp_seeds)
        results.long.extend(self.conversion(ann, m, c.long_steps, c.aim, c.long_images) for m in c.long)
        write_whole(self.folder / "results.json", json.dumps(asdict(results)) + "\n")
        return results


def joined(pieces: list[CurvePiece], method: str, work: dict[str, Cost]) -> Curve:
    """Merge the parts of a curve, weighted by their images."""
    images = sum(p.images for p in pieces)
    exits = {
        e: (sum(p.exits[e][0] for p in pieces) / images, 100 * sum(p.exits[e][1] for p in pieces) / images)
        for e in map(str, EXITS)
    }
    return Curve(
        method=method,
        correct=np.sum([p.correct for p in pieces], 0).tolist(),
        images=images,
        ann_accuracy=100 * sum(p.ann for p in pieces) / images,
        exits=exits,
        work=work,
        seconds=round(sum(p.seconds for p in pieces), 1),
    )
