"""The seed paper as one command: an ANN, the same shape trained directly with spikes, the ANN converted, and STDP.

Every measurement is a job whose result lies in the output folder under the hash of what decides it, so an interrupted
comparison goes on where it stopped and a changed setting repeats only what it changes. All accuracies are on test
images, with counts; the direct networks are chosen by a validation split, everything else is its last epoch.
"""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models.ann import ANNS, Qcfs, build_for, guess_name, read_state, with_qcfs
from models.checkpoint import load
from models.convert import METHODS, convert
from models.convert_fold import unit_spikes
from models.convert_network import ConvertedNetwork
from models.energy import dense_macs, measure
from models.plasticity import StdpConfig, StdpLayer, rates_of
from models.simulate import curve
from training.ann import AnnConfig, accuracy, fit_ann, prepare
from training.config import TrainConfig
from training.data import load_data
from training.images import Images, Pictures, load_images
from training.inputs import evaluation_input
from training.loop import Run
from training.report import write_whole

EXITS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)  # confidences of the early-exit curve
METERED = 16  # images whose operations are counted
VERSION = 1  # of the results on disk


@dataclass(frozen=True)
class CompareConfig:
    """Settings of a comparison."""

    data: str = "mnist"  # a set of images by name, or a folder of pictures <class>/<file>
    root: str = "data"  # where named sets lie
    output: str = "runs/compare"  # folder of results and report
    network: str = "cifar-resnet8"  # the shape of ANN and direct network; one of `models.ann.ANNS`
    weights: str = ""  # the ANN's state dictionary; empty: train it
    tune_epochs: int = 0  # fine-tune given weights on the training images for this many epochs
    tune_images: int = 50_000  # how many of them
    train_images: int = 60_000  # for the ANN and the direct networks
    ann_epochs: int = 5
    direct_epochs: int = 5
    direct: tuple[str, ...] = ("direct/arctan/4", "direct/arctan/10")  # encoding/surrogate/T; none: ()
    methods: tuple[str, ...] = ("rueckauer-max", "rueckauer", "hard-reset", "half", "ltb", "mmse", "ours", "signed")
    multi: tuple[str, ...] = ("multi", "multi8", "multi-diff", "cascade")  # more than one bit a spike
    steps: int = 64  # T of every conversion curve
    aim: int = 32  # T that thresholds and bias calibration are made for
    multi_steps: int = 16
    multi_aim: int = 8
    images: int = 2000  # test images of a curve
    long: tuple[str, ...] = ("rueckauer", "ours")  # methods followed to `long_steps`
    long_steps: int = 2500
    long_images: int = 200
    qcfs_epochs: int = 0  # QCFS fine-tuning; 0 leaves it out
    calibration: int = 512  # unlabelled training images
    stdp_neurons: int = 100  # 0 leaves STDP out (it needs grey images)
    stdp_images: int = 20_000
    stdp_seeds: tuple[int, ...] = (0, 1, 2)
    seed: int = 0


QUICK = {
    "train_images": 6000,
    "ann_epochs": 3,
    "direct_epochs": 3,
    "direct": ("direct/arctan/4",),
    "methods": ("rueckauer", "half", "ours"),
    "multi": ("multi",),
    "steps": 32,
    "images": 500,
    "long": ("rueckauer",),
    "long_steps": 500,
    "long_images": 50,
    "calibration": 256,
    "stdp_images": 3000,
    "stdp_seeds": (0,),
}
"""What `--quick` changes: minutes on two cores instead of hours."""

Say = Callable[[str], None]


def say(text: str) -> None:
    """Progress, apart from results."""
    print(text, file=sys.stderr, flush=True)


class Store:
    """Results of jobs as JSON files, by name and by the hash of what decides them."""

    def __init__(self, folder: Path, report: Say = say) -> None:
        self.folder, self.say = folder / "results", report
        self.folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str, key: dict[str, Any], job: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The stored result, or the job's, stored."""
        text = json.dumps([VERSION, name, key], sort_keys=True)
        path = self.folder / f"{name.replace('/', '-')}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
        if path.is_file():
            self.say(f"{name}: kept")
            return json.loads(path.read_text())
        self.say(f"{name} ...")
        begin = time.monotonic()
        result = {"name": name, **job(), "seconds": round(time.monotonic() - begin, 1)}
        write_whole(path, json.dumps(result) + "\n")
        self.say(f"{name}: {result.get('summary', 'done')} ({result['seconds']:.0f} s)")
        return result


class Comparison:
    """The data, the ANN and the jobs of one comparison."""

    def __init__(self, config: CompareConfig, report: Say = say) -> None:
        if config.network not in ANNS:
            raise ValueError(f"unknown network {config.network!r}; known: {', '.join(ANNS)}")
        if unknown := [m for m in (*config.methods, *config.multi, *config.long) if m not in METHODS]:
            raise ValueError(f"unknown method {unknown[0]!r}; known: {', '.join(METHODS)}")
        self.config, self.folder = config, Path(config.output)
        self.store = Store(self.folder, report)
        self.data: Pictures = load_images(config.data, Path(config.root))
        self.calibration = self.prepared(self.data.train.some(config.calibration, config.seed))
        self.test = self.data.test.some(config.images, config.seed)
        self.x, self.y = self.prepared(self.test), torch.from_numpy(self.test.labels)

    def prepared(self, images: Images) -> Tensor:
        return prepare(images.pixels, self.data.mean, self.data.std)

    def data_key(self) -> dict[str, Any]:
        return {"data": self.data.name, "sizes": [len(self.data.train), len(self.data.test)], "seed": self.config.seed}

    # --- the ANN ---

    def ann_key(self) -> dict[str, Any]:
        c = self.config
        key: dict[str, Any] = {**self.data_key(), "network": c.network, "weights": Path(c.weights).name}
        if c.weights:
            return {**key, "tune": [c.tune_epochs, c.tune_images] if c.tune_epochs else 0}
        return {**key, "epochs": c.ann_epochs, "images": c.train_images}

    def ann(self) -> tuple[nn.Module, dict[str, Any]]:
        """The trained ANN and its result."""
        key = self.ann_key()
        path = self.folder / f"ann-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]}.safetensors"

        def job() -> dict[str, Any]:
            network = self._train_ann()
            save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path)
            whole = self.data.test
            top = accuracy(network, self.prepared(whole), whole.labels)
            macs = dense_macs(Stepwise(network), *self.x.shape[1:])
            here = accuracy(network, self.x, self.test.labels)
            return {
                "accuracy": top,
                "images": len(whole),
                "accuracy_here": here,
                "images_here": len(self.test),
                "macs": macs,
                "activations": activations(network, self.x[:1]),
                "summary": f"{top:.2f} %",
            }

        result = self.store.get("ann", {**key, "here": self.config.images}, job)
        return build_for(self.config.network, read_state(path)), result

    def _train_ann(self) -> nn.Module:
        c, data = self.config, self.data
        torch.manual_seed(c.seed)
        flip = data.train.pixels.shape[1] == 3
        shift = 4 if flip else 2
        if c.weights:
            state = read_state(Path(c.weights))
            network = build_for(c.network if c.network in ANNS else guess_name(state), state)
            if not c.tune_epochs:
                return network
            chosen = data.train.some(c.tune_images, c.seed)
            settings = AnnConfig(c.tune_epochs, lr=0.02, shift=shift, flip=flip, seed=c.seed)
        else:
            network = ANNS[c.network].build(data.train.pixels.shape[1], len(data.classes))
            chosen = data.train.some(c.train_images, c.seed)
            settings = AnnConfig(c.ann_epochs, shift=shift, flip=flip, seed=c.seed)
        return fit_ann(network, chosen.pixels, chosen.labels, data.mean, data.std, settings, report=self.store.say)

    # --- conversion ---

    def conversion(self, ann: nn.Module, method: str, steps: int, aim: int, count: int) -> dict[str, Any]:
        """Accuracy at every T of one run, early exit, and operations at a few T."""
        c = self.config
        steps = METHODS[method].rule.levels if METHODS[method].rule.kind == "few" else steps
        key = {**self.ann_key(), "method": repr(METHODS[method]), "steps": steps, "aim": aim, "images": count,
               "calibration": c.calibration, "of": c.images}  # fmt: skip

        def job() -> dict[str, Any]:
            network = convert(ann, list(self.calibration.split(64)), method, steps=aim, seed=c.seed)
            found = curve(network, self.x[:count], self.y[:count], steps, confidences=EXITS)
            work = {} if steps > 500 else {str(t): costs(network, self.x[:METERED], t) for t in metered_steps(steps)}
            exits = {
                str(e): [float(found.exit_steps[e].mean()), 100 * float(found.exit_right[e].mean())] for e in EXITS
            }
            return {"method": method, "ann_accuracy": accuracy(ann, self.x[:count], self.test.labels[:count]),
                    "correct": found.correct.tolist(), "images": found.images, "exits": exits,
                    "work": work, "summary": f"{found.accuracy(steps):.2f} % at T = {steps}"}  # fmt: skip

        return self.store.get(f"convert/{method}/{steps}", key, job)

    def qcfs(self, ann: nn.Module) -> dict[str, Any]:
        """QCFS fine-tuned from the ANN (L = 4), then converted."""
        c = self.config

        def job() -> dict[str, Any]:
            network = with_qcfs(build_for(c.network, ann.state_dict()), 4)
            set_levels(network, ann, self.calibration[:128])
            chosen = self.data.train.some(c.tune_images if c.weights else c.train_images, c.seed)
            settings = AnnConfig(c.qcfs_epochs, lr=0.01, shift=2, flip=chosen.pixels.shape[1] == 3, seed=c.seed)
            fit_ann(
                network, chosen.pixels, chosen.labels, self.data.mean, self.data.std, settings, report=self.store.say
            )
            top = accuracy(network, self.x, self.test.labels)
            found = curve(convert(network, [self.x[:8]], "qcfs"), self.x, self.y, c.steps)
            return {
                "method": "qcfs",
                "correct": found.correct.tolist(),
                "images": found.images,
                "ann_accuracy": top,
                "exits": {},
                "work": {},
                "summary": f"its ANN {top:.2f} %, {found.accuracy(c.steps):.2f} % at T = {c.steps}",
            }

        key = {**self.ann_key(), "qcfs": c.qcfs_epochs, "steps": c.steps, "images": c.images}
        return self.store.get("convert/qcfs", key, job)

    # --- direct training ---

    def direct(self, spec: str) -> dict[str, Any]:
        """One spiking network of the same shape trained directly: `encoding/surrogate/T`."""
        c = self.config
        encoding, surrogate, steps = spec.split("/")
        settings = TrainConfig(
            data=c.data, root=c.root, network=c.network, encoding=encoding, surrogate=surrogate, steps=int(steps),
            height=self.x.shape[2], width=self.x.shape[3], channels=self.x.shape[1],
            epochs=c.direct_epochs, seed=c.seed, device="cpu", rotate=0.0, drop=0.0, loss="mean",
            flip=self.data.train.pixels.shape[1] == 3, cache=str(self.folder / "cache"), output=str(self.folder),
        )  # fmt: skip

        def job() -> dict[str, Any]:
            data = load_data(settings)
            rows = np.random.default_rng(c.seed).permutation(len(data.train))[: c.train_images]
            data = replace(data, train=data.train.take(np.sort(rows)))
            folder = self.folder / f"direct-{spec.replace('/', '-')}-{c.direct_epochs}-{c.train_images}"
            run = Run(data, folder)
            if run.progress_path.is_file():
                run.resume()
            run.train()
            network, _ = load(folder / "checkpoints" / "best")
            stored = torch.from_numpy(self.test.pixels[:, None].copy())
            correct = np.zeros(int(steps), np.int64)
            for part, labels in zip(stored.split(100), self.y.split(100)):
                with torch.no_grad():
                    logits, _ = network(evaluation_input(part, data.contract))
                correct += (logits.cumsum(0).argmax(2) == labels).sum(1).numpy()
            with torch.no_grad():
                report = measure(network, evaluation_input(stored[:METERED], data.contract))
            work = {steps: {"macs": report.work.effective_macs, "acs": report.work.effective_acs,
                            "rate": report.spike_rate, "spikes": report.spikes,
                            "updates": report.work.neuron_updates}}  # fmt: skip
            return {"method": spec, "correct": correct.tolist(), "images": len(self.test), "work": work, "exits": {},
                    "summary": f"{100 * correct[-1] / len(self.test):.2f} %"}  # fmt: skip

        key = {**self.data_key(), "settings": asdict(replace(settings, root="", cache="", output="")),
               "images": c.train_images, "test": c.images}  # fmt: skip
        return self.store.get(f"direct/{spec}", key, job)

    # --- STDP ---

    def stdp(self, seed: int) -> dict[str, Any]:
        """Unsupervised STDP, neurons named by the training labels."""
        c = self.config

        def job() -> dict[str, Any]:
            train, test = self.data.train.some(c.stdp_images, seed), self.data.test.some(c.images, c.seed)
            layer = StdpLayer(StdpConfig(inputs=int(np.prod(train.pixels.shape[1:])), neurons=c.stdp_neurons), seed)
            layer.learn(rates_of(train.pixels))
            layer.name(rates_of(train.pixels[:5000]), train.labels[:5000], len(self.data.classes))
            right = int((layer.predict(rates_of(test.pixels)) == test.labels).sum())
            return {"method": f"stdp, {c.stdp_neurons} neurons", "right": right, "images": len(test), "seed": seed,
                    "train_images": len(train), "summary": f"{100 * right / len(test):.2f} %"}  # fmt: skip

        key = {**self.data_key(), "neurons": c.stdp_neurons, "images": c.stdp_images, "seed": seed, "test": c.images}
        return self.store.get(f"stdp/{seed}", key, job)

    def run(self) -> dict[str, Any]:
        """Every job; the results by road."""
        c = self.config
        ann, top = self.ann()
        results: dict[str, Any] = {"config": asdict(c), "data": self.data.name, "classes": len(self.data.classes)}
        results["ann"] = top
        results["binary"] = [self.conversion(ann, m, c.steps, c.aim, c.images) for m in c.methods]
        results["multi"] = [self.conversion(ann, m, c.multi_steps, c.multi_aim, c.images) for m in c.multi]
        if c.qcfs_epochs:
            results["binary"].append(self.qcfs(ann))
        results["direct"] = [self.direct(spec) for spec in c.direct]
        grey = self.data.train.pixels.shape[1] == 1
        results["stdp"] = [self.stdp(seed) for seed in c.stdp_seeds] if grey and c.stdp_neurons else []
        results["long"] = [self.conversion(ann, m, c.long_steps, c.aim, c.long_images) for m in c.long]
        write_whole(self.folder / "results.json", json.dumps(results) + "\n")
        return results


class Stepwise(nn.Module):
    """An ANN behind the interface of a spiking network: one step, no state."""

    def __init__(self, ann: nn.Module) -> None:
        super().__init__()
        self.ann = ann

    def forward(self, x_seq: Tensor, _: object = None) -> tuple[Tensor, dict[str, Tensor]]:
        return self.ann(x_seq[0])[None], {}


@torch.no_grad()
def activations(ann: nn.Module, x: Tensor) -> int:
    """Values that the ANN's ReLUs give for one image."""
    total = 0

    def count(_: nn.Module, __: Any, out: Tensor) -> None:
        nonlocal total
        total += out[0].numel()

    handles = [m.register_forward_hook(count) for m in ann.modules() if isinstance(m, nn.ReLU)]
    ann(x)
    for handle in handles:
        handle.remove()
    return total


@torch.no_grad()
def set_levels(network: nn.Module, ann: nn.Module, x: Tensor, share: float = 0.995) -> None:
    """Start each QCFS lambda at a high quantile of the ReLU it replaces, which shortens the fine-tuning."""
    peaks: dict[str, float] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(_: nn.Module, __: Any, out: Tensor) -> None:
            flat = out.flatten()
            peaks[name] = float(torch.quantile(flat[:: max(1, len(flat) // 1_000_000)], share))

        return hook

    handles = [m.register_forward_hook(keep(n)) for n, m in ann.named_modules() if isinstance(m, nn.ReLU)]
    ann(x)
    for handle in handles:
        handle.remove()
    for name, module in network.named_modules():
        if isinstance(module, Qcfs):
            module.level.fill_(max(peaks[name], 1e-3))


def metered_steps(steps: int) -> Sequence[int]:
    """The T whose operations are counted."""
    return sorted({t for t in (2, 4, 8, 16, 32) if t < steps} | {steps})


def costs(network: ConvertedNetwork, x: Tensor, steps: int) -> dict[str, float]:
    """Operations of an image at T = steps, with unit spikes."""
    report = measure(unit_spikes(network), x[None], still=True, steps=steps)
    return {"macs": report.work.effective_macs, "acs": report.work.effective_acs, "rate": report.spike_rate,
            "spikes": report.spikes, "updates": report.work.neuron_updates}  # fmt: skip
