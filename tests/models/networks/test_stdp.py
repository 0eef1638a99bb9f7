"""STDP: what the layer learns, and the names of its neurons."""

import numpy as np
import pytest

from spikesight.models.networks.stdp import StdpConfig, StdpLayer, rates_of


def stripes(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pictures 12 x 12 of one bright bar, its place the class, with noise."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, n)
    pixels = random.integers(0, 60, (n, 12, 12)).astype(np.uint8) * (random.random((n, 12, 12)) < 0.2)
    for picture, label in zip(pixels, labels):
        picture[3 * label : 3 * label + 3] = random.integers(150, 256, (3, 12))
    return pixels, labels


def small(seed: int) -> StdpLayer:
    return StdpLayer(StdpConfig(inputs=144, neurons=12, total=20.0, theta=4.0, a_plus=1e-2), seed)


def test_layer_learns_without_labels() -> None:
    pixels, labels = stripes(300)
    layer = small(0)
    with pytest.raises(ValueError, match="no names"):
        layer.predict(rates_of(pixels))
    with pytest.raises(ValueError, match="rates must be"):
        layer.learn(rates_of(pixels)[:, :5])
    before = layer.weights.copy()
    layer.learn(rates_of(pixels))
    assert np.abs(layer.weights.sum(0) - 20).max() < 0.5
    assert (layer.weights >= 0).all()
    assert (layer.weights <= 1.01).all()
    assert np.abs(layer.weights - before).mean() > 0.01
    assert (layer.threshold > 0).sum() >= 8  # homeostasis brings most neurons into play
    learnt = layer.weights.copy()
    layer.name(rates_of(pixels), labels, 4)
    assert np.array_equal(layer.weights, learnt), "naming teaches nothing"
    test, expected = stripes(200, seed=1)
    assert (layer.predict(rates_of(test)) == expected).mean() > 0.9
