"""Choose the number of steps of a conversion, on pictures used neither to train the ANN nor to calibrate."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from spikesight.models.contract import Card
from spikesight.models.conversion.ann_to_snn import convert
from spikesight.models.conversion.simulate import curve
from spikesight.models.networks.converted.network import ConvertedNetwork
from spikesight.models.statistics import interval
from spikesight.training.config import TrainConfig
from spikesight.training.data import load_data
from spikesight.training.data.images import Images, Pictures
from spikesight.training.flags import SETTINGS, from_mapping

AIMS = (4, 8, 16, 32, 64)  # T to try; the first good one is chosen


def prepare(images: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Normalise uint8 images [N, C, H, W] to float32 of the same shape."""
    shape = (1, -1, 1, 1)
    return (torch.tensor(images).float() / 255 - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)


@torch.no_grad()
def hits(network: nn.Module, x: Tensor, labels: np.ndarray, batch: int = 256) -> np.ndarray:
    """Return which prepared images are classified correctly, bool [N]."""
    network.eval()
    found = torch.cat([network(part).argmax(1) for part in x.split(batch)])
    return found.numpy() == labels


def accuracy(network: nn.Module, x: Tensor, labels: np.ndarray, batch: int = 256) -> float:
    """Return the accuracy on prepared images, in per cent."""
    return 100 * float(hits(network, x, labels, batch).mean())


def splits_of(card: Card, root: Path) -> tuple[Pictures, Images]:
    """Return (training and test pictures, validation pictures) of the run that made a checkpoint. Raises DataError."""
    recipe = {name: value for name, value in card.training["recipe"].items() if name in SETTINGS}
    recipe |= {"root": str(root), "init_from": None, "teacher": None}
    data = load_data(from_mapping(TrainConfig(), recipe, "card"))
    train, held, test = (Images(part.frames[:][:, 0], part.labels) for part in (data.train, data.val, data.test))
    contract = card.contract
    return Pictures(recipe["data"], card.labels, contract.mean, contract.std, train, test), held


@torch.no_grad()
def choose_steps(
    ann: nn.Module,
    batches: Sequence[Tensor],
    method: str | None,
    x: Tensor,
    held: Images,
    report: Callable[[str], None] = print,
) -> tuple[ConvertedNetwork, int, dict[str, float]]:
    """Convert an ANN for the fewest of AIMS steps that reach the ANN's 95 % interval on held-out pictures.

    x [N, C, H, W]: the pictures of `held`, normalised. Returns the network (the best if none reaches it), its T,
    and the accuracies tried, in per cent: by T, and the ANN's as "ann".
    """
    top = accuracy(ann, x, held.labels)
    low, _ = interval(round(top / 100 * len(held)), len(held))
    tried: dict[str, float] = {"ann": round(top, 2)}
    best: tuple[float, int, ConvertedNetwork] | None = None
    low *= 100
    report(f"{len(held)} held-out pictures: ANN {top:.2f} % (from {low:.2f})")
    for steps in AIMS:
        network = convert(ann, batches, method, steps=steps)
        found = curve(network, x, torch.from_numpy(held.labels), steps).accuracy(steps)
        tried[str(steps)] = round(found, 2)
        report(f"  T = {steps}: {found:.2f} %")
        if best is None or found > best[0]:
            best = found, steps, network
        if found >= low:
            break
    assert best is not None
    return best[2], best[1], tried
