"""Choosing T: on the pictures that a training held out, the fewest steps that these do not tell from the ANN."""

from pathlib import Path

import numpy as np
import pytest
import torch

from spikesight.models.contract import Card
from spikesight.models.statistics import interval
from spikesight.training.compare import conversion
from spikesight.training.compare.conversion import choose_steps, splits_of
from spikesight.training.config import TrainConfig
from spikesight.training.data import load_data
from spikesight.training.data.images import Images
from tests.support.inputs.data_sets import write_idx


def test_the_held_out_pictures_are_those_of_the_training(tmp_path: Path) -> None:
    write_idx(tmp_path, train=40, test=10)
    config = TrainConfig(data="mnist", root=str(tmp_path), network="cifar-resnet8", neuron="relu", steps=1)
    data = load_data(config)
    recipe = {"data": "mnist", "network": "cifar-resnet8", "neuron": "relu", "steps": 1, "seed": 0}
    pictures, held = splits_of(Card(data.contract, data.labels, {"recipe": recipe}), tmp_path)
    assert np.array_equal(held.labels, data.val.labels)
    assert np.array_equal(held.pixels, data.val.frames[:][:, 0])
    assert len(pictures.train) + len(held) == 40
    assert len(pictures.test) == 10
    assert pictures.mean == data.contract.mean


@pytest.mark.parametrize(
    ("right", "steps"), [((95, 96, 97, 98, 99), 4), ((50, 93, 96, 99, 99), 16), ((10, 30, 20, 30, 29), 8)]
)
def test_the_fewest_good_steps_or_the_best(right: tuple[int, ...], steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "accuracy", lambda *_: 99.0)
    monkeypatch.setattr(conversion, "convert", lambda *_, steps: steps)

    class Found:
        def __init__(self, steps: int) -> None:
            self.steps = steps

        def accuracy(self, _: int) -> float:
            return float(right[(4, 8, 16, 32, 64).index(self.steps)])

    monkeypatch.setattr(conversion, "curve", lambda network, *_: Found(network))
    held = Images(np.zeros((100, 1, 2, 2), np.uint8), np.zeros(100, np.int64))
    said: list[str] = []
    network, chosen, tried = choose_steps(torch.nn.Identity(), [], "ours", torch.zeros(100, 1, 2, 2), held, said.append)
    assert network == chosen == steps
    assert tried.pop("ann") == 99.0
    assert list(tried.values()) == list(right[: len(tried)])
    good = [found for found in right if found >= 100 * interval(99, 100)[0]]
    assert len(tried) == (right.index(good[0]) + 1 if good else len(right))
    assert said[1:] == [f"  T = {t}: {value:.2f} %" for t, value in tried.items()]
