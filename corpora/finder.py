"""Train what finds digits anywhere in a camera's full frame: the weights of `nmnist`.

    python -m corpora.finder --begun RUN/model --root DATA --cache CACHE --to RUN [--steps 12000]

The network goes on from that of the recipe digits.yaml, which reads one digit that fills its view, and learns which
class each place of a made scene shows (corpora/scenes; "none of the classes" has the logit 0), and how long
each layer remembers, as in PLIF (Fang et al. 2021): an object that moves one way shows other edges than one that moves
another way, and a longer memory puts them together. Batch norms keep their statistics: a camera's full frame has others
than the scenes, and the network must not depend on them. The weights go to RUN/checkpoints/best; `python -m corpora
calibrate` follows.
"""

import argparse
import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from corpora.digits import TEXTURE_SIDE
from corpora.scenes import NONE, VIEW, Scenes
from corpora.sets import DIGITS, register
from spikesight.models.checkpoint import load, save
from spikesight.models.classifier.tracker import WINDOW
from spikesight.models.networks.output_cells import CELL_WINDOW, STRIDE
from spikesight.models.networks.resnet import SpikingResNet
from spikesight.models.neurons.layers import Neuron
from spikesight.models.neurons.state import State
from spikesight.training.config import TrainConfig
from spikesight.training.data import Data, load_data
from spikesight.training.run.loop import update_average
from spikesight.training.step.batches import carried_state, seeded

BATCH = 32  # scenes; a quarter of them where the sensor is finer, since each of these takes four times as long to make
LR, WARMUP, DECAY, EMA = 4e-3, 100, 0.01, 0.998
LEAK_LR = 10  # times LR
FINER = 8  # every so many batches are seen by a sensor of twice the resolution
KINDS = 3  # of batches: as frames are seen, by an event camera, and where objects hardly move in longer bins
CALM, SLOWER = (0.05, 0.6), 4  # how far objects move there; how much longer the bins are
CARRY, SPIKE_PENALTY = 0.3, 4.0  # as in the recipe of `nmnist`
NOTED = 250  # steps between two rows of metrics
BEST = Path("checkpoints", "best")  # in a run's folder


NONE_WEIGHT = 0.5  # of a place where nothing is drawn, times how wrong its answer is: few of very many are hard


def places_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy at the places of scenes, of the mean over WINDOW steps, the first step left out; a scalar.

    `logits` [T, N, P, P, K], "none of the classes" having the logit 0; `targets` int64 [T, N, P, P]: classes, K for
    none, K + 1 for none where something is drawn, negative for places that do not count. Its sum is divided by the
    number of places that show a class.
    """
    classes, logits = logits.shape[-1], pad(logits.float(), (0, 1))
    recent = [logits[max(0, t - WINDOW + 1) : t + 1].mean(0) for t in range(1, len(logits))]
    seen, wanted = torch.stack(recent).flatten(0, 3), targets[1:].flatten()
    seen, wanted = seen[wanted >= 0], wanted[wanted >= 0]
    each = cross_entropy(seen, wanted.clamp(max=classes), reduction="none")
    weights = torch.where(wanted == classes, NONE_WEIGHT * (1 - torch.exp(-each.detach())), torch.ones_like(each))
    return (weights * each).sum() / (wanted < classes).sum().clamp(min=50)


@dataclass(frozen=True)
class Batches(Dataset[tuple[Tensor, Tensor]]):
    """`steps` batches of scenes of all kinds, some seen by a finer sensor."""

    scenes: Scenes
    steps: int

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        finer = number % FINER == 0
        scenes = replace(self.scenes, view=2 * VIEW) if finer else self.scenes
        if number % KINDS:
            scenes = replace(scenes, held=True)
        if number % KINDS == 2:
            scenes = replace(scenes, calm=CALM, bin_us=SLOWER * scenes.bin_us)
        return scenes.batch(number, BATCH // 4 if finer else BATCH)


def train(network: SpikingResNet, scenes: Scenes, steps: int, to: Path) -> dict[str, Tensor]:
    """Train the network for so many steps; return the moving average of its weights, also written to `to` with each row
    of metrics. A run that was stopped goes on from the last of them.
    """
    kept, rows, first = to / "average.safetensors", to / "metrics.jsonl", 0
    if kept.exists():
        network.load_state_dict(load_file(kept))
        first = int(json.loads(rows.read_text().splitlines()[-1])["step"])
    rates: list[Tensor] = []
    for module in network.train().modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda _, __, spikes: rates.append(spikes.mean(dtype=torch.float32)))
    average = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    leaks = [one for one in network.parameters() if one.ndim == 0]
    others = [one for one in network.parameters() if one.ndim]
    optimiser = torch.optim.AdamW(others, lr=LR, weight_decay=DECAY)
    optimiser.add_param_group({"params": leaks, "weight_decay": 0.0, "times": LEAK_LR})
    last: State | None = None
    count = VIEW // STRIDE - CELL_WINDOW + 1
    begin, total, right, digits = time.monotonic(), 0.0, 0, 0
    made = DataLoader(Batches(scenes, steps), batch_size=None, num_workers=1, sampler=range(first, steps))
    for step, (x_seq, targets) in enumerate(tqdm(made, disable=None), first):
        rate = LR * min(1, (step - first + 1) / WARMUP) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = rate * group.get("times", 1)
        rates.clear()
        if last and len(next(iter(last.values()))) != x_seq.shape[1]:
            last = None  # of a batch of another size, before or behind one of the finer sensor
        with torch.autocast("cpu", torch.bfloat16):
            logits, after = network(x_seq.float(), carried_state({}, last, CARRY, seeded(scenes.seed, step)))
        logits = logits.unflatten(2, (count, count, -1))
        last = {key: tensor.detach() for key, tensor in after.items()}
        loss = places_loss(logits, targets) + SPIKE_PENALTY * torch.stack(rates).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        update_average(average, network, EMA, step)
        shown = targets[-1][(targets[-1] >= 0) & (targets[-1] < NONE)]
        said = logits.detach()[-1][(targets[-1] >= 0) & (targets[-1] < NONE)].argmax(-1)
        total, right, digits = total + loss.item(), right + int((said == shown).sum()), digits + len(shown)
        if step % NOTED == NOTED - 1:
            row = {"step": step + 1, "loss": total / NOTED, "class_right": right / max(digits, 1)}
            row["seconds"] = round(time.monotonic() - begin)
            save_file(average, kept)
            with rows.open("a") as file:
                file.write(json.dumps(row) + "\n")
            total, right, digits = 0.0, 0, 0
    save_file(average, kept)
    return average


def finding(begun: SpikingResNet) -> SpikingResNet:
    """Return a copy of a network that reads places, and in which each layer's leak is learnt, from its own on."""
    config = replace(begun.config, read="places", neuron=replace(begun.config.neuron, learn_beta=True))
    network = SpikingResNet(config)
    network.load_state_dict(begun.state_dict(), strict=False)  # all but the leaks, which a first network has not learnt
    return network


def photographs(folder: Path) -> NDArray[np.float32]:
    """Return the pictures under a folder, grey, float32 [M, TEXTURE_SIDE, TEXTURE_SIDE] from 0 to 1."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    grey = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]
    size = TEXTURE_SIDE, TEXTURE_SIDE
    return np.stack(
        [cv2.resize(one, size, interpolation=cv2.INTER_CUBIC) for one in grey if one is not None]
    ) / np.float32(255)


def learn(begun: Path, data: Data, pictures: NDArray[np.float32] | None, steps: int, to: Path, seed: int) -> None:
    """Go on from the model `begun` for so many steps of scenes of this seed; write the one that finds to `to`/BEST."""
    assert data.outliers is not None
    to.mkdir(parents=True, exist_ok=True)
    scenes = Scenes(data.train.frames.made.pictures, data.outliers.frames.pictures, seed)
    first, card = load(begun)
    network = finding(cast(SpikingResNet, first))
    network.load_state_dict(train(network, replace(scenes, photographs=pictures), steps, to))
    recipe = {**card.training["recipe"], "learn_beta": True}
    card = replace(
        card, contract=replace(card.contract, task="detection"), training={**card.training, "recipe": recipe}
    )
    save(to / BEST, network.eval(), replace(card, metrics={}, novelty=None, conformal=None))


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of what each training on scenes is told."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="of nmnist/ and mnist/")
    parser.add_argument("--cache", required=True, help="where drawn pictures are kept")
    parser.add_argument("--to", type=Path, required=True, help="folder of the run")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn by chance (default 0)")
    parser.add_argument(
        "--photographs", type=Path, help="a folder of pictures that show no digit, as things and grounds"
    )
    return parser


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--steps", type=int, default=12000, help="of 32 scenes (default 12000)")
    parser.add_argument("--begun", type=Path, required=True, help="model to go on from: of digits.yaml, or of this")
    args = parser.parse_args()
    register()
    data = load_data(TrainConfig(data=DIGITS, root=args.root, cache=args.cache, seed=args.seed))
    learn(args.begun, data, args.photographs and photographs(args.photographs), args.steps, args.to, args.seed)


if __name__ == "__main__":
    main()
