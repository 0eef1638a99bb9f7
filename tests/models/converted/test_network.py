"""Converted networks through time: chunks against whole runs, batches, checkpoints."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spikesight.models.checkpoint import load, save
from spikesight.models.classifier import Classifier
from spikesight.models.conversion.ann_to_snn import convert
from spikesight.models.conversion.methods import METHODS
from spikesight.models.conversion.simulate import predictions
from spikesight.models.networks.ann import SmallCnn
from spikesight.models.networks.converted.network import ConvertedNetwork
from tests.support.models import card, warmed


@pytest.mark.parametrize("name", METHODS)
def test_chunks_and_single_steps_equal_the_whole_run(name: str, resnet: nn.Module, images: Tensor) -> None:
    network = convert(resnet, [images], name, steps=8).double()
    x = images[:3].double()
    whole, _ = network(x[None], None, 9)
    state, parts = None, []
    for size in (1, 3, 5):
        logits, state = network(x[None], state, size)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-9)
    state, parts = None, []
    for _ in range(9):  # as the service does: the image again at each step
        logits, state = network(x[None], state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-9)
    assert state is not None
    assert all(len(v) == 3 for v in state.values())


def test_pool_behind_spikes_keeps_the_mean(images: Tensor) -> None:
    """The accumulated max-pool: the ANN's value, where a pool of each step's currents would give more."""
    ann = warmed(SmallCnn(3, 4, 4), images)
    expected = ann(images).detach()
    found = predictions(convert(ann, [images], "rueckauer-max"), images, 500)
    assert float((found - expected).abs().max()) < 0.02 * float(expected.abs().max()) + 0.01


def test_batches_do_not_disturb_each_other(resnet: nn.Module, images: Tensor) -> None:
    network = convert(resnet, [images], "ours", steps=8).double()
    together, state = network(images[:2, :].double()[None], None, 6)
    alone, _ = network(images[1:2].double()[None], None, 6)
    torch.testing.assert_close(together[:, 1:], alone, rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="state of"):
        network(images[:3].double()[None], state, 1)
    with pytest.raises(ValueError, match="x_seq must be"):
        network(images[None, :, :2], None, 1)


def test_checkpoint_round_trip_and_prediction(resnet: nn.Module, images: Tensor, tmp_path: Path) -> None:
    network = convert(resnet, [images], "bounded", steps=8)
    save(tmp_path / "model", network, card())
    again, _ = load(tmp_path / "model")
    assert isinstance(again, ConvertedNetwork)
    assert again.config == network.config
    assert torch.equal(again(images[None], None, 8)[0], network(images[None], None, 8)[0])
    classifier = Classifier.load(tmp_path / "model")
    picture = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    answers = classifier.predict_image(picture)
    assert len(answers) == 8
    assert all(a.synops > 0 for a in answers[:1])
    x = classifier.encode_image(picture)
    direct, _ = network(x[:1], None, 8)
    np.testing.assert_allclose(np.array([a.logits for a in answers]).mean(0), direct[:, 0].mean(0), atol=2e-2)
