"""A conversion sees the pictures that the network was trained with, normalised in the same way."""

from pathlib import Path

import numpy as np
import pytest
import torch

from spikesight.models.contract import Card
from spikesight.training.config import TrainConfig
from spikesight.training.conversion import pictures_of, prepare
from spikesight.training.data import load_data
from tests.support.inputs.data_sets import write_idx


def test_pixels_are_normalised_by_channel() -> None:
    images = np.array([0, 51, 255], np.uint8).reshape(1, 3, 1, 1)
    made = prepare(images, (0.0, 0.1, 0.5), (1.0, 0.5, 0.25))
    assert made.dtype == torch.float32
    assert made.flatten().tolist() == pytest.approx([0.0, 0.2, 2.0])


def test_the_pictures_are_those_of_the_training(tmp_path: Path) -> None:
    write_idx(tmp_path, train=40, test=10)
    config = TrainConfig(data="mnist", root=str(tmp_path), network="cifar-resnet8", neuron="relu", steps=1)
    data = load_data(config)
    recipe = {"data": "mnist", "network": "cifar-resnet8", "neuron": "relu", "steps": 1, "seed": 0}
    pictures = pictures_of(Card(data.contract, data.labels, {"recipe": recipe}), tmp_path)
    assert np.array_equal(pictures.train.pixels, data.train.frames[:][:, 0])
    assert np.array_equal(pictures.test.labels, data.test.labels)
    assert pictures.mean == data.contract.mean
