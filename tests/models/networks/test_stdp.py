"""STDP: what the layer learns, homeostasis, and the names of its neurons."""

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


def plain(layer: StdpLayer, rates: np.ndarray, *, learn: bool) -> np.ndarray:
    """What `show` does, picture by picture and step by step, on arrays; the layer's state changes in place."""
    c, counts = layer.config, np.zeros((len(rates), layer.config.neurons), np.int32)
    state = int(layer.seed[0]) | 1

    def drawn() -> float:
        nonlocal state
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        return state * 2.0**-32

    for n, rate in enumerate(rates):
        v, p, q = np.zeros(c.neurons), np.zeros(c.inputs), np.zeros(c.neurons)
        for _ in range(c.steps):
            lit = rate > 0
            p[lit] *= 1 - 1 / c.tau_trace
            spikes = np.array([i for i in np.flatnonzero(lit) if drawn() < c.peak * float(rate[i])], int)
            p[spikes] += 1
            v, q = v * (1 - 1 / c.tau_membrane) + layer.weights[spikes].sum(0, np.float64), q * (1 - 1 / c.tau_trace)
            above = v - c.theta - layer.threshold
            winner = int(above.argmax())
            if learn:
                layer.threshold *= np.float32(1 - c.theta_decay)
            if above[winner] > 0:
                counts[n, winner] += 1
                v, q[winner] = np.zeros(c.neurons), q[winner] + 1
                if learn:
                    layer.threshold[winner] += c.theta_plus
                    w = layer.weights[lit, winner]
                    layer.weights[lit, winner] = np.minimum(1, w + c.a_plus * p[lit] * (1 - w))
            if learn:
                for i in spikes:
                    layer.weights[i] = np.maximum(0, layer.weights[i] - c.a_minus * q * layer.weights[i])
        if learn:
            fired = q > 0
            layer.weights[:, fired] *= c.total / layer.weights[:, fired].sum(0)
    layer.seed[0] = state
    return counts


@pytest.mark.parametrize("learn", [True, False])
def test_the_compiled_loop_is_its_plain_twin(learn: bool) -> None:
    config = StdpConfig(
        inputs=144, neurons=5, steps=25, total=20.0, theta=3.0, theta_plus=0.5, theta_decay=1e-2, a_plus=0.05,
        a_minus=0.02, tau_membrane=8.0, tau_trace=4.0, peak=0.5,
    )  # fmt: skip
    rates = rates_of(stripes(6)[0])
    ours, theirs = StdpLayer(config, 2), StdpLayer(config, 2)
    for _ in range(2):
        assert np.array_equal(ours._show(rates, learn=learn), plain(theirs, rates, learn=learn))
    assert ours._show(rates, learn=False).sum() > 20
    np.testing.assert_allclose(ours.weights, theirs.weights, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ours.threshold, theirs.threshold, rtol=1e-4)
    assert (np.abs(ours.weights - StdpLayer(config, 2).weights).max() > 0.01) == learn


@pytest.mark.parametrize("wrong", [{"inputs": 0}, {"neurons": 0}, {"steps": 0}, {"peak": 0.0}, {"peak": 1.01}])
def test_layers_that_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        StdpConfig(**wrong)  # type: ignore[arg-type]
    StdpConfig(inputs=1, neurons=1, steps=1, peak=1.0)
