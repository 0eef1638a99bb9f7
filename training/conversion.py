"""Pictures of a conversion: those of the run that trained the ANN, and how many a network classifies correctly."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from spikesight.models.contract import Card
from spikesight.training.config import TrainConfig
from spikesight.training.data import load_data
from spikesight.training.data.images import Images, Pictures
from spikesight.training.flags import SETTINGS, from_mapping


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


def pictures_of(card: Card, root: Path) -> Pictures:
    """Return the training and test pictures of the run that made a checkpoint. Raises DataError."""
    recipe = {name: value for name, value in card.training["recipe"].items() if name in SETTINGS}
    recipe |= {"root": str(root), "init_from": None, "teacher": None}
    data = load_data(from_mapping(TrainConfig(), recipe, "card"))
    train, test = (Images(part.frames[:][:, 0], part.labels) for part in (data.train, data.test))
    contract = card.contract
    return Pictures(recipe["data"], card.labels, contract.mean, contract.std, train, test)
