"""Converted networks through time: chunks against whole runs, batches, windows, checkpoints."""

import copy
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
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
from spikesight.models.networks.ann import CifarResNet, SmallCnn
from spikesight.models.networks.converted.network import ConvertedNetwork
from spikesight.models.networks.converted.unit_spikes import unit_spikes
from tests.support.models import Functional, card, warmed

STREAMED = [name for name, method in METHODS.items() if method.streams and method.threshold != "qcfs"]


@pytest.mark.parametrize("name", STREAMED)
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
    for name in ("rueckauer-max", "multi-diff"):
        method = replace(METHODS[name], threshold="percentile", percent=100.0)
        found = predictions(convert(ann, [images], method), images, 500)
        assert float((found - expected).abs().max()) < 0.02 * float(expected.abs().max()) + 0.01


def test_a_copy_with_other_weights_forgets_what_the_network_rests_at(images: Tensor) -> None:
    torch.manual_seed(0)
    network, other = (convert(SmallCnn(3, 4, 4).eval(), [images], "multi-diff", steps=8) for _ in range(2))
    network(images[None], None, 4)
    for times in range(1, 5):  # that the copy's weights are written
        copied = copy.deepcopy(network)
        for _ in range(times):
            copied.load_state_dict(other.state_dict())
        assert torch.equal(copied(images[None], None, 4)[0], other(images[None], None, 4)[0])


def test_threads_run_one_network_with_differential_coding(images: Tensor) -> None:
    network = convert(SmallCnn(3, 4, 4).eval(), [images], "multi-diff", steps=8)
    expected, _ = network(images[None], None, 8)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda _: network(images[None], None, 8)[0], range(200)))
    finally:
        sys.setswitchinterval(interval)
    assert all(torch.equal(one, expected) for one in found)


def test_batches_do_not_disturb_each_other(resnet: nn.Module, images: Tensor) -> None:
    network = convert(resnet, [images], "ours", steps=8).double()
    together, state = network(images[:2, :].double()[None], None, 6)
    alone, _ = network(images[1:2].double()[None], None, 6)
    torch.testing.assert_close(together[:, 1:], alone, rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="state of"):
        network(images[:3].double()[None], state, 1)
    with pytest.raises(ValueError, match="x_seq must be"):
        network(images[None, :, :2], None, 1)


def test_few_spikes_need_their_window(resnet: nn.Module, images: Tensor) -> None:
    network = convert(resnet, [images], "few-spikes")
    with torch.no_grad():
        expected = resnet(images)
    torch.testing.assert_close(predictions(network, images, 10).float(), expected, rtol=0.05, atol=0.05)
    with pytest.raises(ValueError, match="whole window of 10"):
        network(images[None], None, 4)


@pytest.mark.parametrize("name", ["bounded", "signed", "multi-repaired", "cascade"])
def test_checkpoint_round_trip_and_prediction(name: str, resnet: nn.Module, images: Tensor, tmp_path: Path) -> None:
    network = convert(resnet, [images], name, steps=8)
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


def test_units_give_the_same_logits(images: Tensor) -> None:
    for ann in (warmed(CifarResNet(1), images), warmed(SmallCnn(3), images), warmed(Functional(), images)):
        network = convert(ann, [images], "ours", steps=8).double()
        units = unit_spikes(network)
        x = images[:2].double()[None]
        torch.testing.assert_close(units(x, None, 8)[0], network(x, None, 8)[0], rtol=1e-9, atol=1e-9)
        seen: list[Tensor] = []
        for layer in units.neurons().values():
            layer.register_forward_hook(lambda _, __, out, into=seen: into.append(torch.unique(out)))
        units(x, None, 4)
        assert set(torch.cat(seen).tolist()) <= {0.0, 1.0}
