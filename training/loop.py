"""fit() and evaluate(): our own loop. The model is chosen on the validation split; the test split is read once."""

import math
import signal
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from models.checkpoint import Card, Contract, save
from models.neurons import State
from models.resnet import NETWORKS, SpikingResNet
from training.augment import augment
from training.config import TrainConfig
from training.data import Data, load_data
from training.evaluate import evaluate
from training.loss import LOSSES
from training.progress import load_progress, save_progress
from training.report import write_environment, write_metrics, write_report


class TrainingError(RuntimeError):
    """A run that cannot go on, and why."""


@dataclass
class Progress:
    """Where a run stands; JSON-able."""

    epoch: int = 0
    batch: int = 0  # next batch of the epoch
    step: int = 0  # optimiser steps so far
    best_val: float = -1.0
    best_loss: float = math.inf  # decides between equal accuracies
    best_epoch: int = -1
    loss_sum: float = 0.0
    correct: int = 0
    seen: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)


def choose_device(name: str) -> torch.device:
    """`auto` is the GPU when there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: no CUDA GPU is available to this PyTorch; use --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def build_network(config: TrainConfig, classes: int) -> SpikingResNet:
    """The network a configuration asks for, seeded."""
    if config.network not in NETWORKS:
        raise ValueError(f"unknown network {config.network!r}; known: {', '.join(NETWORKS)}")
    shape = NETWORKS[config.network]
    neuron = replace(shape.neuron, beta=config.beta, surrogate=config.surrogate, learn_beta=config.learn_beta)
    torch.manual_seed(config.seed)
    return SpikingResNet(replace(shape, in_channels=2, classes=classes, neuron=neuron))


def seeded(*numbers: int) -> torch.Generator:
    """A generator that follows from the numbers alone."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1))


def learning_rate(config: TrainConfig, step: int, steps_an_epoch: int) -> float:
    """Linear warm-up, then a cosine to zero."""
    warmup, total = config.warmup_epochs * steps_an_epoch, config.epochs * steps_an_epoch
    if step < warmup:
        return config.lr * (step + 1) / warmup
    return config.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, total - warmup)))


def carried_state(state: State, last: State | None, chance: float, generator: torch.Generator) -> State:
    """For each sample, by chance, the membranes that another sample of the batch before left behind; else zero."""
    if last is None or not chance:
        return state
    batch = next(iter(last.values())).shape[0]
    keep = torch.rand(batch, generator=generator) < chance
    order = torch.randperm(batch, generator=generator)
    return {
        key: tensor[order.to(tensor.device)] * keep.to(tensor).view(-1, *[1] * (tensor.ndim - 1))
        for key, tensor in last.items()
    }


class Run:
    """One training run and its folder."""

    def __init__(self, config: TrainConfig, folder: Path, data: Data) -> None:
        self.config, self.folder, self.data = config, folder, data
        self.device = choose_device(config.device)
        self.network = build_network(config, len(data.labels)).to(self.device)
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()} if config.ema else None
        self.optimiser = self._make_optimiser()
        self.progress = Progress()
        self.last_state: State | None = None
        self.steps_an_epoch = max(1, len(data.train) // config.batch_size)
        self.stop_asked = False

    def _make_optimiser(self) -> torch.optim.Optimizer:
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        other = [p for p in self.network.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": self.config.weight_decay}, {"params": other, "weight_decay": 0.0}]
        if self.config.optimiser == "sgd":
            return torch.optim.SGD(groups, lr=self.config.lr, momentum=0.9)
        return torch.optim.AdamW(groups, lr=self.config.lr)

    @property
    def progress_path(self) -> Path:
        return self.folder / "checkpoints" / "last.safetensors"

    def save(self) -> None:
        """The resume state, whole or not at all."""
        extra: dict[str, dict[str, Tensor]] = {}
        if self.average is not None:
            extra["average"] = self.average
        if self.last_state is not None:
            extra["carry"] = self.last_state
        save_progress(self.progress_path, self.network, self.optimiser, extra, asdict(self.progress))

    def resume(self) -> None:
        """Go on from the last checkpoint."""
        groups, counters = load_progress(self.progress_path, self.network, self.optimiser)
        self.progress = Progress(**counters)
        self.average = groups.get("average", self.average)
        self.last_state = groups.get("carry")

    def card(self, metrics: dict[str, Any]) -> Card:
        """What the checkpoint says of itself."""
        c, sensor = self.config, self.data.sensor
        digits = self.data.labels == tuple("0123456789")
        contract = Contract(
            "events", 2, c.height, c.width, c.steps, c.encoding, sensor.width, sensor.height, c.bin_us,
            still="digit" if digits else "plain",
        )  # fmt: skip
        recipe = {
            k: v for k, v in asdict(c).items() if k not in ("root", "emulated_root", "cache", "output", "threads")
        }
        recipe["data"] = self.data.split["data"]
        counts = {"train": len(self.data.train), "val": len(self.data.val), "test": len(self.data.test)}
        return Card(contract, self.data.labels, {"recipe": recipe, "samples": counts}, metrics)

    def train_batch(self, indices: np.ndarray) -> tuple[float, int]:
        """One optimiser step; (loss, correct)."""
        config, generator = self.config, seeded(self.config.seed, 1, self.progress.step)
        x = torch.from_numpy(np.array(self.data.train.frames[np.sort(indices)])).to(self.device).float()
        labels = torch.from_numpy(self.data.train.labels[np.sort(indices)]).to(self.device)
        x = augment(x, config, generator).transpose(0, 1).contiguous()
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(config, self.progress.step, self.steps_an_epoch)
        logits, state = self.network(x, carried_state({}, self.last_state, config.carry, generator))
        loss = LOSSES[config.loss](logits, labels, config.label_smoothing)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss became {value} at step {self.progress.step}: lower --lr or set --clip-norm; "
                f"the last checkpoint is {self.progress_path}"
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if config.clip_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), config.clip_norm)
        self.optimiser.step()
        if config.carry:
            self.last_state = {key: tensor.detach() for key, tensor in state.items()}
        self._update_average()
        return value * len(indices), int((logits.detach().mean(0).argmax(1) == labels).sum())

    @torch.no_grad()
    def _update_average(self) -> None:
        if self.average is None:
            return
        decay = min(self.config.ema, (1 + self.progress.step) / (10 + self.progress.step))
        for name, tensor in self.network.state_dict().items():
            if tensor.is_floating_point():
                self.average[name].lerp_(tensor, 1 - decay)
            else:
                self.average[name].copy_(tensor)

    def shipped_network(self) -> nn.Module:
        """The network that is evaluated and saved: the moving average where there is one."""
        if self.average is None:
            return self.network
        network = build_network(self.config, len(self.data.labels)).to(self.device)
        network.load_state_dict(self.average)
        return network

    def train_epoch(self) -> None:
        """The rest of the current epoch."""
        p, config = self.progress, self.config
        order = torch.randperm(len(self.data.train), generator=seeded(config.seed, 2, p.epoch)).numpy()
        self.network.train()
        saved = time.monotonic()
        bar = tqdm(
            total=self.steps_an_epoch, initial=p.batch, desc=f"epoch {p.epoch + 1}/{config.epochs}", leave=False,
            mininterval=1, disable=None,
        )  # fmt: skip
        with bar:
            while p.batch < self.steps_an_epoch:
                indices = order[p.batch * config.batch_size : (p.batch + 1) * config.batch_size]
                loss, correct = self.train_batch(indices)
                p.loss_sum, p.correct, p.seen = p.loss_sum + loss, p.correct + correct, p.seen + len(indices)
                p.batch, p.step = p.batch + 1, p.step + 1
                bar.update()
                bar.set_postfix(loss=f"{p.loss_sum / p.seen:.4f}", accuracy=f"{p.correct / p.seen:.4f}", refresh=False)
                if self.stop_asked or time.monotonic() - saved > config.save_minutes * 60:
                    self.save()
                    saved = time.monotonic()
                if self.stop_asked:
                    raise KeyboardInterrupt

    def finish_epoch(self, seconds: float) -> None:
        """Validate, keep the best, write metrics and the checkpoint."""
        p = self.progress
        network = self.shipped_network()
        val = evaluate(network, self.data.val, len(self.data.labels), self.device)
        row = {
            "epoch": p.epoch + 1,
            "train_loss": p.loss_sum / p.seen,
            "train_accuracy": p.correct / p.seen,
            "val_loss": val.loss,
            "val_accuracy": val.accuracy,
            "lr": learning_rate(self.config, p.step - 1, self.steps_an_epoch),
            "seconds": round(seconds, 2),
            "synops": val.synops,
            **{f"rate/{name}": rate for name, rate in val.firing_rates.items()},
        }
        p.rows.append(row)
        if (val.accuracy, -val.loss) > (p.best_val, -p.best_loss):
            p.best_val, p.best_loss, p.best_epoch = val.accuracy, val.loss, p.epoch
            save(self.folder / "checkpoints" / "best", network, self.card({"val_accuracy": val.accuracy}))
        p.epoch, p.batch, p.loss_sum, p.correct, p.seen = p.epoch + 1, 0, 0.0, 0, 0
        write_metrics(self.folder, p.rows)
        self.save()
        silent = [name for name, rate in val.firing_rates.items() if rate == 0]
        print(
            f"epoch {row['epoch']}/{self.config.epochs}  loss {row['train_loss']:.4f}  "
            f"train {row['train_accuracy']:.4f}  val {val.accuracy:.4f}  ({seconds:.0f} s)"
            + (f"  WARNING: silent layers {', '.join(silent)}" if silent else ""),
            flush=True,
        )

    def train(self) -> None:
        """Every epoch that is left. The first Ctrl-C (or SIGTERM) saves a checkpoint and stops."""

        def ask(*_: object) -> None:
            self.stop_asked = True

        previous = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            while self.progress.epoch < self.config.epochs:
                begin = time.monotonic()
                self.train_epoch()
                self.finish_epoch(time.monotonic() - begin)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def run_folder(config: TrainConfig) -> Path:
    """A new folder runs/<name>[-N]."""
    name = config.name or f"{Path(config.data).name}-{config.network}"
    folder, number = Path(config.output) / name, 2
    while folder.exists():
        folder, number = Path(config.output) / f"{name}-{number}", number + 1
    return folder


def fit(config: TrainConfig, folder: Path, *, resume: bool = False) -> dict[str, Any]:
    """Train in `folder` to the end and report; the final metrics. Raises ValueError and TrainingError."""
    if config.threads:
        torch.set_num_threads(config.threads)
    run = Run(config, folder, load_data(config))
    folder.mkdir(parents=True, exist_ok=True)
    if resume:
        run.resume()
    write_environment(folder, config, run.data)
    run.train()
    return write_report(run)


def dry_run(config: TrainConfig) -> float:
    """One batch through the whole path, nothing written but the cache; its loss."""
    run = Run(config, Path(config.output), load_data(config))
    run.network.train()
    loss, _ = run.train_batch(np.arange(min(config.batch_size, len(run.data.train))))
    return loss / min(config.batch_size, len(run.data.train))
