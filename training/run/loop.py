"""The training loop: each epoch of batches is followed by validation, model selection and a checkpoint."""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from spikesight.encoders.words import counted
from spikesight.models.checkpoint import save
from spikesight.models.contract import Card
from spikesight.models.networks.taught import TaughtNetwork
from spikesight.models.neurons.layers import Neuron
from spikesight.models.neurons.state import State
from spikesight.training.config import TrainConfig
from spikesight.training.data import Data
from spikesight.training.distributed import ProcessGroup, choose_device
from spikesight.training.network import build_network, load_teacher, start_from
from spikesight.training.progress import say
from spikesight.training.resolve import name_of_start, planned, weights_path
from spikesight.training.run.evaluate import Evaluation, evaluate
from spikesight.training.run.report import write_metrics
from spikesight.training.run.resume import Groups, Progress, load_progress, save_progress
from spikesight.training.step.batches import Batches, TrainingBatch, carried_state, seeded
from spikesight.training.step.losses import class_weights, total_loss

STEP_EPOCHS = 30  # of the schedule "step", as ImageNet's recipes have it
SAVE_S = 120.0  # a checkpoint at least this often, and at every epoch's end
TIMED = 3  # steps of which the fastest tells how long an epoch takes
TRAINING_SHARE = 0.8  # of a run's time; the rest is for the head, baselines and calibration
TO_START = 1.0  # decay of a taught network's weights towards those that it began with (L2-SP; Li et al. 2018)


class TrainingError(RuntimeError):
    """Error for a run that cannot continue; it says why."""


class Pass(NamedTuple):
    """The result of one training forward pass over T steps of N samples."""

    logits: Tensor  # [T, N, K]
    state: State
    firing_rate: Tensor  # scalar, mean over layers of spikes a neuron a step; 0 without a spike penalty


class Trainee(nn.Module):
    """A network wrapped for training; it shares the network's weights."""

    def __init__(self, network: nn.Module, config: TrainConfig, device: torch.device) -> None:
        super().__init__()
        self.network, self.config, self.device_type = network, config, device.type
        self._rates: list[Tensor] = []
        if config.spike_penalty:
            for module in network.modules():
                if isinstance(module, Neuron):
                    module.register_forward_hook(self._collect)

    def _collect(self, _: nn.Module, __: Any, spikes: Tensor) -> None:
        self._rates.append(spikes.float().mean())

    def forward(self, x_seq: Tensor, state: State) -> Pass:
        """Run x_seq [T, N, C, H, W] from `state`, the neurons' state before the first step."""
        self._rates = []
        autocast = self.config.precision == "bf16"
        run = self.network.after_window if isinstance(self.network, TaughtNetwork) else self.network
        with torch.autocast(self.device_type, torch.bfloat16) if autocast else nullcontext():
            logits, after = run(x_seq, state)
        return Pass(logits, after, torch.stack(self._rates).mean() if self._rates else logits.new_zeros(()))


class Run:
    """One training run and its folder; `data.config` holds the complete settings.

    `network` replaces the one that the settings name: x_seq [T, N, C, H, W] to (logits [T, N, K], state). A taught one
    keeps its normalisation, and its weights decay towards those that it has now.
    """

    def __init__(
        self, data: Data, folder: Path, processes: ProcessGroup | None = None, network: nn.Module | None = None
    ) -> None:
        config = self.config = data.config
        self.folder, self.data = folder, data
        self.processes = processes or ProcessGroup(choose_device(config.device))
        self.device = self.processes.device
        self.network = network or build_network(config, len(data.labels), data.contract.channels)
        self.taught = isinstance(network, TaughtNetwork)
        if config.init_from and not self.taught:
            start_from(self.network, weights_path(config.init_from), data.labels)
        self.weights = self._class_weights()
        self.network.to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = deepcopy(self.network) if config.ema else self.network
        self.trainee = self.processes.wrap(Trainee(self.network, config, self.device))
        teacher = config.teacher
        self.teacher = load_teacher(weights_path(teacher), data.contract, self.device) if teacher else None
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()} if config.ema else None
        self.optimiser = make_optimiser(self.network, config, 0.0 if self.taught else config.weight_decay)
        self.start = [p.detach().clone() for p in self.network.parameters()] if self.taught else []
        self.progress = Progress()
        self.last_state: State | None = None
        self.steps_an_epoch = config.epoch_steps or max(1, len(data.train) // config.batch_size)
        self.stop_asked = False
        self.batches = Batches(data, self.processes)

    def _class_weights(self) -> Tensor | None:
        """Return weights by which rare classes count more, in a user's own folder."""
        if not self.data.own:
            return None
        weights = class_weights(torch.from_numpy(self.data.train.labels), len(self.data.labels))
        return weights if weights is None else weights.to(self.device)

    def plan(self) -> str:
        """Return a sentence on what the run will do."""
        config, start = self.config, name_of_start(self.config)
        if not config.epochs:
            return f"head only: the network of {start} stays as it is, and a read-out is fitted on it"
        steps = f"{counted(self.steps_an_epoch, 'step')} of {counted(config.batch_size, 'sample')}"
        within = f", within {config.minutes:g} min (--minutes)" if config.minutes else ""
        return f"from {start}: {counted(config.epochs, 'epoch')} of {steps}{within}; Ctrl-C keeps the best"

    def plan_for(self, minutes: float, most: int) -> None:
        """Set the epochs to as many as fit into `minutes`, up to `most`, by steps that are timed and change nothing. Of
        an epoch that does not fit, the steps are fewer; of few epochs, a tenth warms up.
        """
        rows, seconds = self._order()[: self.config.batch_size], list[float]()
        self.network.eval()
        for _ in range(TIMED):
            begin = time.monotonic()
            self._gradients(self.batches.make(rows, 0))
            seconds.append(time.monotonic() - begin)
        self.optimiser.zero_grad()
        step_s = float(self.processes.sum(torch.tensor(min(seconds)))) / self.processes.world
        fit, validation = TRAINING_SHARE * 60 * minutes / step_s, len(self.data.val) / self.config.batch_size
        self.steps_an_epoch = min(self.steps_an_epoch, max(1, int(fit - validation)))
        epochs = min(max(1, round(fit / (self.steps_an_epoch + validation))), most)
        self.config = planned(self.config, epochs, self.steps_an_epoch, minutes)
        self.data = replace(self.data, config=self.config)

    @property
    def progress_path(self) -> Path:
        return self.folder / "checkpoints" / "last.safetensors"

    def save(self) -> None:
        """Write the resume state, whole or not at all."""
        extra: Groups = {}
        if self.average is not None:
            extra["average"] = self.average
        if self.last_state is not None:
            extra["carry"] = {key: self.processes.gather(tensor) for key, tensor in self.last_state.items()}
        if self.processes.main:
            save_progress(self.progress_path, self.network, self.optimiser, extra, asdict(self.progress))

    def resume(self) -> None:
        """Continue from the last checkpoint."""
        groups, counters = load_progress(self.progress_path, self.network, self.optimiser)
        self.progress = Progress(**counters)
        if not self.processes.main:  # the saved sums are over all processes
            self.progress.loss_sum, self.progress.correct = 0.0, 0
        self.average = _to_device(groups.get("average"), self.device) or self.average
        carried = _to_device(groups.get("carry"), self.device)
        self.last_state = carried and {key: self.processes.share(tensor) for key, tensor in carried.items()}

    def card(self, metrics: dict[str, Any]) -> Card:
        """Return the model card of a checkpoint: contract, labels, recipe and metrics."""
        recipe = {k: v for k, v in vars(self.config).items() if k not in ("root", "cache", "output")}
        recipe["data"] = self.data.split["data"]
        recipe |= {name: Path(recipe[name]).name for name in ("init_from", "teacher") if recipe[name]}
        counts = {"train": len(self.data.train), "val": len(self.data.val), "test": len(self.data.test)}
        made = {"recipe": recipe, "samples": counts, "recordings": list(self.data.digests)}
        if self.data.left_out:
            made["left_out"] = list(self.data.left_out)
        if self.data.outliers is not None:
            made["outliers"] = list(self.data.outlier_kinds)
        return Card(self.data.contract, self.data.labels, made, metrics)

    def train_batch(self, rows: np.ndarray, later: np.ndarray | None = None) -> tuple[float, int]:
        """Run one optimiser step; return (loss summed over this process's samples, number of them that are right).

        `later`: the rows of the next step, which may be read in the background.
        """
        config, step = self.config, self.progress.step
        batch, rate = self.batches.take(rows, step, later), learning_rate(config, step, self.steps_an_epoch)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        out, value = self._gradients(batch)
        self.optimiser.step()
        with torch.no_grad():
            for parameter, start in zip(self.network.parameters(), self.start):
                parameter.lerp_(start, rate * TO_START)
        if config.carry > 0:
            self.last_state = {key: tensor.detach() for key, tensor in out.state.items()}
        if self.average is not None:
            update_average(self.average, self.network, config.ema, step)
        digits = int((batch.targets < out.logits.shape[2]).sum())
        return value * digits, int((out.logits.detach().mean(0).argmax(1) == batch.targets).sum())

    def _gradients(self, batch: TrainingBatch) -> tuple[Pass, float]:
        """Run a batch forward and backward; leave clipped gradients, and return the pass and its loss."""
        config, (step, x_seq, targets, generator) = self.config, batch
        self.optimiser.zero_grad()
        state = carried_state({}, self.last_state, config.carry, generator)
        teacher_logits = None
        if self.teacher is not None:
            with torch.inference_mode():
                teacher_logits = self.teacher(x_seq)
            teacher_logits = teacher_logits.clone()  # an inference tensor cannot be saved for a backward pass
        out = self.trainee(x_seq, state)
        none = self.data.outliers is not None
        loss = total_loss(out.logits, targets, config, teacher_logits, out.firing_rate, self.weights, none=none)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss became {value} at step {step}: lower --lr or set --clip-norm; "
                f"the last checkpoint is {self.progress_path}"
            )
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), config.clip_norm)
        return out, value

    def shipped_network(self) -> nn.Module:
        """Return the network to evaluate and save: the moving average of the weights, if there is one."""
        if self.average is None:
            return self.network
        self.averaged.load_state_dict(self.average)
        return self.averaged

    def train_epoch(self, *, keep: bool = True) -> None:
        """Train the rest of the current epoch; `keep`: write a checkpoint every SAVE_S."""
        p, config = self.progress, self.config
        order = self._order()
        self.network.train(not self.taught)
        saved = time.monotonic()
        bar = tqdm(
            total=self.steps_an_epoch, initial=p.batch, desc=f"epoch {p.epoch + 1}/{config.epochs}", leave=False,
            mininterval=1, disable=None if self.processes.main else True,
        )  # fmt: skip
        with bar:
            while p.batch < self.steps_an_epoch:
                rows, later = (order[n * config.batch_size :][: config.batch_size] for n in (p.batch, p.batch + 1))
                loss, correct = self.train_batch(rows, later if p.batch + 1 < self.steps_an_epoch else None)
                p.loss_sum, p.correct, p.seen = p.loss_sum + loss, p.correct + correct, p.seen + len(rows)
                p.batch, p.step = p.batch + 1, p.step + 1
                bar.update()
                bar.set_postfix(loss=f"{p.loss_sum / p.seen:.4f}", accuracy=f"{p.correct / p.seen:.4f}", refresh=False)
                due = keep and time.monotonic() - saved > SAVE_S
                stop, due = self._agreed(self.stop_asked), self._agreed(due)
                if stop or due:
                    self._sum_progress()
                    self.save()
                    saved = time.monotonic()
                if stop:
                    raise KeyboardInterrupt

    def _order(self) -> np.ndarray:
        """Return the rows of an epoch: as many passes as its steps need, each in a new random order."""
        count, generator = len(self.data.train), seeded(self.config.seed, 2, self.progress.epoch)
        passes = max(1, -(-self.steps_an_epoch * self.config.batch_size // count))
        return torch.cat([torch.randperm(count, generator=generator) for _ in range(passes)]).numpy()

    def _agreed(self, wish: bool) -> bool:
        """Return whether `wish` is true in any process."""
        return float(self.processes.sum(torch.tensor(float(wish)))) > 0

    def _sum_progress(self) -> None:
        """Add the sums of all processes to the main process's, and set those of the others to zero."""
        p = self.progress
        sums = self.processes.sum(torch.tensor([p.loss_sum, p.correct], dtype=torch.float64)).tolist()
        p.loss_sum, p.correct = (sums[0], int(sums[1])) if self.processes.main else (0.0, 0)

    def keep_first(self) -> None:
        """Save the present network as the best one, unless an epoch has done so. A taught one has to be surpassed."""
        p = self.progress
        if p.best_epoch >= 0 or (self.taught and p.step):
            return
        network = self.shipped_network()
        if self.taught and self.config.epochs:
            val = self._validate(network)
            p.best_val, p.best_loss = val.accuracy, val.loss
        if self.processes.main:
            save(self.folder / "checkpoints" / "best", network, self.card({}))

    def _validate(self, network: nn.Module) -> Evaluation:
        data = self.data
        return evaluate(network, data.val, len(data.labels), self.device, data.contract, self.processes)

    def finish_epoch(self, begin: float) -> None:
        """Validate, save the model if it is the best so far, write metrics and the checkpoint; `begin`: when the epoch
        began, by the monotonic clock.
        """
        seconds = time.monotonic() - begin
        p, network = self.progress, self.shipped_network()
        self._sum_progress()
        val = self._validate(network)
        row = self._row(val, seconds)
        p.rows.append(row)
        if (val.accuracy, -val.loss) > (p.best_val, -p.best_loss):
            p.best_val, p.best_loss, p.best_epoch = val.accuracy, val.loss, p.epoch
            if self.processes.main:
                save(self.folder / "checkpoints" / "best", network, self.card({"val_accuracy": val.accuracy}))
        p.next_epoch()
        if self.processes.main:
            write_metrics(self.folder, p.rows)
        self.save()
        if self.processes.main:
            words = "".join(f"  WARNING: {warning}" for warning in val.warnings())
            if "silent" in words:
                words += " (longer windows, --theta 0.5 or --init-from wake them)"
            spent, epochs = time.monotonic() - begin, self.config.epochs - p.epoch
            left = f", about {max(1, round(epochs * spent / 60))} min left" if epochs else ""
            say(
                f"epoch {row['epoch']}/{self.config.epochs}  loss {row['train_loss']:.4f}  "
                f"train {row['train_accuracy']:.4f}  val {val.accuracy:.4f}  ({spent:.0f} s{left}){words}"
            )

    def _row(self, val: Evaluation, seconds: float) -> dict[str, Any]:
        p = self.progress
        return {
            "epoch": p.epoch + 1,
            "train_loss": p.loss_sum / p.seen,
            "train_accuracy": p.correct / p.seen,
            "val_loss": val.loss,
            "val_accuracy": val.accuracy,
            "lr": learning_rate(self.config, p.step - 1, self.steps_an_epoch),
            "seconds": round(seconds, 2),
            "synops": val.synops,
            **{f"rate/{name}": layer.rate for name, layer in val.layers.items()},
            **{f"dead/{name}": layer.dead for name, layer in val.layers.items()},
            **{f"saturated/{name}": layer.saturated for name, layer in val.layers.items()},
        }

    def train(self) -> None:
        """Train all remaining epochs, as long as the minutes last. The first Ctrl-C (or SIGTERM) saves a checkpoint and
        stops.
        """
        config, first = self.config, time.monotonic()
        with self._stop_on_signals():
            while self.progress.epoch < config.epochs:
                begin = time.monotonic()
                self.train_epoch()
                self.finish_epoch(begin)
                late = bool(config.minutes) and time.monotonic() - first > 60 * config.minutes
                if self._agreed(late and self.progress.epoch < config.epochs):
                    if self.processes.main:
                        say(f"the {config.minutes:g} min are over: this was the last epoch")
                    break

    @contextmanager
    def _stop_on_signals(self) -> Iterator[None]:
        def ask(*_: object) -> None:
            self.stop_asked = True

        previous = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def _to_device(tensors: dict[str, Tensor] | None, device: torch.device) -> dict[str, Tensor] | None:
    return tensors and {key: tensor.to(device) for key, tensor in tensors.items()}


def make_optimiser(network: nn.Module, config: TrainConfig, weight_decay: float) -> torch.optim.Optimizer:
    """Make the optimiser; weight decay applies to weights, not to biases, batch norms and neuron parameters."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    other = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": other, "weight_decay": 0.0}]
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=0.9)
    return torch.optim.AdamW(groups, lr=config.lr)


def learning_rate(config: TrainConfig, step: int, steps_an_epoch: int) -> float:
    """Return a step's learning rate: linear warm-up, then cosine to 0, times 0.1 each STEP_EPOCHS, or constant."""
    warmup, total = config.warmup_epochs * steps_an_epoch, config.epochs * steps_an_epoch
    if step < warmup:
        return config.lr * (step + 1) / warmup
    if config.schedule == "constant":
        return config.lr
    if config.schedule == "step":
        return config.lr * 0.1 ** (step // (STEP_EPOCHS * steps_an_epoch))
    return config.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, total - warmup)))


@torch.no_grad()
def update_average(average: dict[str, Tensor], network: nn.Module, decay: float, step: int) -> None:
    """Update the moving average of weights and statistics in place; the decay grows from 0.1 to `decay` at first."""
    decay = min(decay, (1 + step) / (10 + step))
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            average[name].lerp_(tensor, 1 - decay)
        else:
            average[name].copy_(tensor)
