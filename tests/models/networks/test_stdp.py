"""STDP: golden changes of each rule, homeostasis and naming of the layer, features of the convolutional one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from spikesight.models.networks.stdp import (
    ConvStdpLayer,
    Eligibility,
    PairTraces,
    StdpConfig,
    StdpLayer,
    Triplet,
    TripletTraces,
    pair_change,
    pair_step,
    rates_of,
    reward_change,
    reward_step,
    simple_change,
    triplet_step,
)

ONE, ZERO = torch.ones(1), torch.zeros(1)


def pair_total(pre: str, post: str, tau: float = 2.0) -> float:
    """The summed change of one synapse for two spike trains, f = 1."""
    traces, total = PairTraces(ZERO, ZERO), 0.0
    for a, b in zip(pre, post):
        s_pre, s_post = torch.tensor([float(a)]), torch.tensor([float(b)])
        traces = pair_step(traces, s_pre, s_post, tau)
        total += float(pair_change(traces, s_pre, s_post))
    return total


@pytest.mark.parametrize(("pre", "post", "change"), [("10", "01", 0.5), ("01", "10", -0.5), ("1", "1", 0.0)])
def test_pair_rule(pre: str, post: str, change: float) -> None:
    assert pair_total(pre, post) == change


def test_pair_rule_scales_with_the_weight() -> None:
    traces = pair_step(PairTraces(torch.zeros(2), torch.zeros(1)), torch.tensor([1.0, 0.0]), ONE, 2.0)
    w = torch.tensor([[0.25, 0.5]])
    change = pair_change(traces, torch.tensor([1.0, 0.0]), ONE, 1 - w, w)
    torch.testing.assert_close(change, torch.tensor([[0.75 - 0.25, 0.0]]))


def test_pair_rule_equals_spikingjelly() -> None:
    learning = pytest.importorskip("spikingjelly.activation_based.learning")
    from spikingjelly.activation_based import neuron

    generator = torch.Generator().manual_seed(0)
    synapse, node = torch.nn.Linear(3, 4, bias=False), neuron.IFNode()
    torch.nn.init.uniform_(synapse.weight, 0.2, 0.9, generator=generator)
    learner = learning.STDPLearner("s", synapse, node, 4.0, 4.0, torch.ones_like, torch.ones_like)
    traces = PairTraces(torch.zeros(3), torch.zeros(4))
    with torch.no_grad():
        for _ in range(30):
            pre = (torch.rand(3, generator=generator) < 0.4).float()
            post = node(synapse(pre[None]))[0]
            traces = pair_step(traces, pre, post, 4.0)
            theirs = learner.step(on_grad=False)
            torch.testing.assert_close(pair_change(traces, pre, post), theirs)


def test_triplet_rule() -> None:
    rule = Triplet(a2_plus=0.0, a2_minus=0.0, a3_plus=1.0, a3_minus=0.0)
    traces, total = TripletTraces(ZERO, ZERO, ZERO, ZERO), []
    for a, b in ((1, 0), (0, 1), (0, 1)):  # pre, post, post: only the second output spike finds a slow trace
        traces, change = triplet_step(traces, a * ONE, b * ONE, rule)
        total.append(float(change))
    assert total[:2] == [0, 0]
    assert total[2] == pytest.approx(np.exp(-2 / 16.8) * np.exp(-1 / 125.0), rel=1e-6)
    _, change = triplet_step(TripletTraces(ZERO, ZERO, ONE, ZERO), ONE, ZERO, Triplet())
    assert float(change) == pytest.approx(-7e-3 * np.exp(-1 / 33.7), rel=1e-5)


def test_reward_turns_the_sign() -> None:
    traces = Eligibility(ZERO, ZERO, torch.zeros(1, 1))
    traces = reward_step(traces, ONE, ZERO)
    assert float(traces.e) == 0
    traces = reward_step(traces, ZERO, ONE)
    assert float(traces.e) == pytest.approx(np.exp(-1 / 20))
    assert float(reward_change(traces, 1.0, 0.1)) == pytest.approx(0.1 * np.exp(-1 / 20))
    assert float(reward_change(traces, -1.0, 0.1)) < 0
    slow = reward_step(Eligibility(ONE, ZERO, torch.ones(1, 1)), ZERO, ONE, tau_e=10.0)
    assert float(slow.e) == pytest.approx(np.exp(-1 / 10) + np.exp(-1 / 20) / 10, rel=1e-6)


def test_simple_rule_stays_inside_its_bounds() -> None:
    w = torch.tensor([0.0, 0.5, 1.0])
    assert simple_change(w, torch.tensor([True, True, True])).tolist() == pytest.approx([0, 1e-3, 0])
    assert simple_change(w, torch.tensor([False] * 3)).tolist() == pytest.approx([0, -7.5e-4, 0])


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
    before = layer.weights.copy()
    layer.learn(rates_of(pixels))
    assert np.abs(layer.weights.sum(0) - 20).max() < 0.5
    assert (layer.weights >= 0).all()
    assert (layer.weights <= 1.01).all()
    assert np.abs(layer.weights - before).mean() > 0.01
    assert (layer.threshold > 0).sum() >= 8  # homeostasis brings most neurons into play
    layer.name(rates_of(pixels), labels, 4)
    test, expected = stripes(200, seed=1)
    assert (layer.predict(rates_of(test)) == expected).mean() > 0.9


def test_layer_repeats_itself_and_does_not_learn_when_asked() -> None:
    rates = rates_of(stripes(60)[0])
    first, second = small(3), small(3)
    first.learn(rates)
    second.learn(rates)
    assert np.array_equal(first.weights, second.weights)
    held = first.weights.copy()
    first.name(rates, np.zeros(60, int), 1)
    assert np.array_equal(first.weights, held)
    with pytest.raises(ValueError, match="rates must be"):
        first.learn(rates[:, :5])
    with pytest.raises(ValueError, match="peak"):
        StdpConfig(peak=0)


def test_convolutional_layer_learns_bars() -> None:
    def bar(vertical: bool, place: int) -> Tensor:
        picture = torch.zeros(1, 9, 9)
        picture[(0, slice(None), place) if vertical else (0, place)] = 1
        return torch.stack([picture, torch.zeros_like(picture)])  # latency code: bright spikes in the first step

    layer = ConvStdpLayer(1, 4, 5, threshold=2.5, seed=1)
    random = np.random.default_rng(0)
    for _ in range(1000):
        layer.learn(bar(bool(random.integers(2)), int(random.integers(2, 7))), winners=1)
    steps, _ = layer.times(bar(True, 4))
    assert (steps == 0).any()
    sharp = layer.weights.amax((1, 2, 3)) - layer.weights.amin((1, 2, 3))
    assert float(sharp.max()) > 0.5
    assert layer.learn(torch.zeros(2, 1, 9, 9)) == []


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


def test_parameters_are_the_published_ones() -> None:
    assert Triplet() == Triplet(16.8, 33.7, 101.0, 125.0, 5e-3, 6e-3, 7e-3, 0.0)
    assert StdpConfig() == StdpConfig(784, 100, 60, 0.35, 100.0, 20.0, 1.2e-3, 6e-5, 78.4, 9.0, 0.12, 2e-5)


@pytest.mark.parametrize("wrong", [{"inputs": 0}, {"neurons": 0}, {"steps": 0}, {"peak": 0.0}, {"peak": 1.01}])
def test_layers_that_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        StdpConfig(**wrong)  # type: ignore[arg-type]
    StdpConfig(inputs=1, neurons=1, steps=1, peak=1.0)


def test_neurons_are_named_by_what_they_answer_to_on_average() -> None:
    layer = StdpLayer(StdpConfig(inputs=2, neurons=3, steps=4))
    given = np.array([[6, 0, 1], [6, 0, 1], [6, 0, 1], [8, 9, 0]], np.int32)
    layer._show = lambda _, **__: given  # type: ignore[method-assign,assignment]
    layer.name(np.zeros((4, 2), np.float32), np.array([0, 0, 0, 1]), 3)
    assert layer.classes.tolist() == [1, 1, 0]
    given = np.array([[1, 2, 4], [5, 2, 3], [0, 0, 0]], np.int32)
    layer._show = lambda _, **__: given  # type: ignore[method-assign,assignment]
    assert layer.predict(np.zeros((3, 2), np.float32)).tolist() == [0, 1, 0], "means over a class's neurons"


def test_winners_of_a_convolution_inhibit_their_feature_and_their_place() -> None:
    layer = ConvStdpLayer(1, 2, 2, threshold=1.0)
    layer.weights = torch.stack([torch.full((1, 2, 2), 0.6), torch.full((1, 2, 2), 0.5)])
    x = torch.zeros(2, 1, 4, 6)
    x[0, 0, :2, :2] = x[1, 0, 2:, 4:] = 1
    steps, potential = layer.times(x)
    assert int(steps[0, 0, 0]) == 0
    assert int(steps[0, 2, 4]) == 1
    assert int(steps[0, 0, 4]) == 2, "never"
    assert float(potential[0, 0, 0]) == pytest.approx(2.4)
    before = layer.weights.clone()
    assert layer.learn(x, winners=3) == [0, 1], "the first feature at its place, the other one elsewhere"
    assert (layer.weights[0] > before[0]).all()
    assert (layer.weights[1] > before[1]).all()
    w = 0.6
    assert float(layer.weights[0, 0, 0, 0]) == pytest.approx(w + 4e-3 * w * (1 - w))


@pytest.mark.slow
def test_mnist_baseline(shared_data: Callable[[str], Path]) -> None:
    from spikesight.training.data.pictures import load_images

    data = load_images("mnist", shared_data("mnist").parent)
    for seed in (0, 1, 2):
        train, layer = data.train.some(20_000, seed), StdpLayer(StdpConfig(), seed)
        layer.learn(rates_of(train.pixels))
        layer.name(rates_of(train.pixels[:5000]), train.labels[:5000], 10)
        right = layer.predict(rates_of(data.test.pixels)) == data.test.labels
        assert right.mean() > 0.75


def test_the_smallest_layer_and_the_brightest_pixel() -> None:
    made = StdpConfig(inputs=1, neurons=1, steps=1, peak=1.0)
    assert (made.inputs, made.neurons, made.steps, made.peak) == (1, 1, 1, 1.0)
