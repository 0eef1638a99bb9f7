"""Reading an ANN on still images."""

import numpy as np
import pytest
import torch
from torch import nn

from spikesight.training.compare.ann import accuracy, hits, prepare


def test_pixels_are_normalised_by_channel() -> None:
    images = np.array([0, 51, 255], np.uint8).reshape(1, 3, 1, 1)
    made = prepare(images, (0.0, 0.1, 0.5), (1.0, 0.5, 0.25))
    assert made.dtype == torch.float32
    assert made.flatten().tolist() == pytest.approx([0.0, 0.2, 2.0])


@pytest.mark.parametrize("batch", [2, 3, 256])
def test_hits_are_images_whose_largest_logit_is_their_label(batch: int) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.9)).train()
    x = torch.eye(3)[[0, 1, 2, 0, 1]].view(5, 3, 1, 1)
    labels = np.array([0, 1, 0, 0, 2])
    assert hits(network, x, labels, batch).tolist() == [True, True, False, True, False]
    assert accuracy(network, x, labels, batch) == pytest.approx(60.0)
    assert not network.training
