"""`in_distribution`: fitted on what a network learnt from, it tells other things from it; rates; what another camera
gives.
"""

from dataclasses import fields, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from spikesight.encoders.native.build import library
from spikesight.models.checkpoint import CheckpointError, from_json
from spikesight.models.engine.engine import Engine, engine_status
from spikesight.models.networks.resnet import ResNetConfig, SpikingResNet
from spikesight.models.novelty import KEPT, NoveltyDetector, fit_novelty, score
from spikesight.models.novelty.profile import Profile, ProfileWatch, WindowStatistics, compare, measure, typical
from spikesight.models.novelty.rates import Rates, layers_to_watch
from spikesight.models.novelty.score import SHOWN, ClassDistance, Thresholds, Windows, fit_lines, novelty_at, rows_of
from spikesight.models.statistics import energy, quantile, softmax
from tests.support.models import lively
from tests.support.networks import inputs
from tests.support.refusals import refusal

CLASSES, WIDTH, STEPS = 3, 8, 4
RANDOM = np.random.default_rng(0)
PLACES = RANDOM.uniform(0.2, 0.5, (CLASSES, WIDTH))


def windows(count: int, seed: int, shift: float = 0.0, sure: float = 6.0) -> Windows:
    """Samples of three classes: rates around PLACES, closer the longer the window, and logits that mostly agree."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    noise = random.normal(0, 0.05, (count, STEPS, WIDTH)) / np.sqrt(np.arange(1, STEPS + 1))[:, None]
    rates = np.clip(PLACES[labels][:, None] + noise + shift, 0, 1)
    logits = random.normal(0, 1, (count, STEPS, CLASSES))
    logits[np.arange(count), :, labels] += sure
    return Windows(logits, rates, np.full((count, STEPS), 50.0), labels, np.ones(count))


def mean(of: Windows, n: int, at: int, active: float | None = None) -> NDArray[np.float64]:
    """What a read-out holds of a sample's window of at + 1 steps."""
    return np.concatenate([of.logits[n, at], of.rates[n, at], [of.active[n, at] if active is None else active]])


def judged(known: NoveltyDetector, of: Windows, at: int) -> NDArray[np.float64]:
    """`in_distribution` of each sample's window of at + 1 steps."""
    return np.array([known.judge(mean(of, n, at), CLASSES, at + 1).in_distribution for n in range(len(of.labels))])


KNOWN = fit_novelty(2, windows(600, 1), windows(2000, 2))


@pytest.mark.parametrize("at", range(STEPS))
def test_the_lines_keep_what_they_say_of_fresh_samples(at: int) -> None:
    fresh = judged(KNOWN, windows(2000, 3), at)
    assert 0.93 < (fresh >= SHOWN).mean() < 0.97
    assert 0.98 < (fresh >= KEPT).mean() < 0.998


@pytest.mark.parametrize("at", range(STEPS))
def test_a_window_is_judged_by_the_line_of_its_own_length(at: int) -> None:
    """As by what knows no longer windows, whose last line it is."""
    fresh = windows(20, 3)
    lines = Thresholds(*(row[: at + 1] for row in rows_of(KNOWN.lines)))
    shorter = NoveltyDetector(KNOWN.layers, KNOWN.distance, lines)
    assert judged(KNOWN, fresh, at).tolist() == judged(shorter, fresh, at).tolist()
    whole = [KNOWN.judge(mean(fresh, n, at), CLASSES, STEPS).in_distribution for n in range(20)]
    assert (at == STEPS - 1) == (judged(KNOWN, fresh, at).tolist() == whole), "lines that differ"


def test_what_lies_elsewhere_is_unknown() -> None:
    assert (judged(KNOWN, windows(200, 4, shift=0.4), STEPS - 1) < KEPT).all(), "other rates, sure of a class"
    vague = judged(KNOWN, windows(200, 5, sure=0.0), STEPS - 1)
    assert np.median(vague) < KEPT, "the right rates, sure of no class"


def test_the_compiled_loops_are_the_equations() -> None:
    of, distance, lines = windows(50, 10, shift=0.05), KNOWN.distance, KNOWN.lines
    for at in range(STEPS):
        far = np.log(distance.score(np.sqrt(of.rates[:, at])))
        strange = (far - lines.distance_mean[at]) / lines.distance_spread[at]
        strange += (energy(of.logits[:, at]) - lines.energy_mean[at]) / lines.energy_spread[at]
        expected = 1 / (1 + 9 ** ((strange - lines.kept[at]) / (lines.kept[at] - lines.shown[at])))
        np.testing.assert_allclose(judged(KNOWN, of, at), expected, rtol=1e-6, atol=1e-12)
        cooled = softmax(of.logits[:, at] / lines.temperature[at])
        np.testing.assert_allclose(KNOWN.judge(mean(of, 7, at), CLASSES, at + 1).probabilities, cooled[7])


def test_windows_that_are_not_typical_set_no_threshold_but_what_is_nothing() -> None:
    plain, odd = windows(200, 2), windows(200, 12, 0.4)
    parts = zip(vars(plain).values(), vars(replace(odd, active=odd.active / 10)).values())
    both, distance = Windows(*map(np.concatenate, list(parts)[:-1])), KNOWN.distance
    alone, all_ = fit_lines(distance, plain), fit_lines(distance, both)
    lines = fit_lines(distance, replace(both, typical=np.repeat([True, False], 200)))
    np.testing.assert_array_equal(lines.kept, alone.kept)
    assert (all_.kept != alone.kept).all()
    assert (lines.active < alone.active / 2).all()


def test_what_is_read_wrong_sets_no_threshold() -> None:
    of, distance = windows(200, 2), KNOWN.distance
    swapped = of.logits.copy()
    swapped[:50] = -40 - 20 * np.eye(CLASSES)[of.labels[:50]][:, None]  # like nothing known, and wrong
    assert (fit_lines(distance, replace(of, logits=swapped)).energy_mean < 0).all(), "energies of those read right"


def test_too_few_active_inputs_are_nothing() -> None:
    of = windows(1, 7)
    floor = KNOWN.active[-1]
    assert floor == 25
    quiet = KNOWN.judge(mean(of, 0, -1, 24.9), CLASSES, STEPS)
    assert quiet.nothing
    assert quiet.in_distribution == 0
    assert not KNOWN.judge(mean(of, 0, -1, 25.0), CLASSES, 99).nothing, "longer windows count as the longest"


@pytest.mark.parametrize("hot", [3.0, 0.5])
def test_the_temperature_makes_probabilities_those_of_being_right(hot: float) -> None:
    random = np.random.default_rng(0)
    truth = random.normal(0, 2, (4000, CLASSES))
    labels = np.array([random.choice(CLASSES, p=p) for p in softmax(truth)])
    logits = np.repeat(hot * truth[:, None], STEPS, 1)
    of = Windows(logits, windows(4000, 8).rates, np.ones((4000, STEPS)), labels, np.ones(4000))
    np.testing.assert_allclose(fit_novelty(1, windows(600, 1), of).lines.temperature, hot, rtol=0.1)


def test_a_few_samples_that_are_all_right_do_not_ask_for_boundless_certainty() -> None:
    of = windows(20, 2)
    right = np.repeat(np.eye(CLASSES)[of.labels][:, None], STEPS, 1)
    lines = fit_novelty(1, windows(600, 1), replace(of, logits=right)).lines
    wrong = 1 - softmax(np.eye(CLASSES)[0] / lines.temperature[-1])[0]
    assert 0.01 < wrong < 1 / 20, "less than one in twenty, and not much less"
    lines = fit_novelty(1, windows(600, 1), replace(of, logits=10 * right)).lines
    assert lines.temperature[-1] == 1, "what is right at 10 is not made less sure"


def test_the_distance_is_mahalanobis_of_the_nearest_class() -> None:
    random = np.random.default_rng(1)
    mix = random.normal(size=(4, 4))
    labels = np.arange(5000) % 2
    features = random.normal(size=(5000, 4)) @ mix + labels[:, None] * 20
    distance = ClassDistance.fit(features, labels, shrink=0)
    inverse = np.linalg.inv(np.cov((features - distance.centres[labels]).T, bias=True))
    apart = random.normal(size=(6, 4)) * 30
    expected = [min((x - c) @ inverse @ (x - c) for c in distance.centres) for x in apart]
    np.testing.assert_allclose(distance.score(apart), expected, rtol=1e-6)
    assert distance.scores(features).argmin(1).tolist() == labels.tolist()
    assert abs(distance.score(features).mean() - 4) < 0.1, "as many as there are dimensions"
    again = ClassDistance.from_state(distance.state())
    np.testing.assert_allclose(again.score(apart), expected, rtol=1e-3)


def test_weights_are_repetitions() -> None:
    features, labels = RANDOM.normal(size=(30, 3)), np.arange(30) % 2
    times = np.arange(30) % 3 + 1
    repeated = ClassDistance.fit(np.repeat(features, times, 0), np.repeat(labels, times))
    weighted = ClassDistance.fit(features, labels, times.astype(float))
    np.testing.assert_allclose(weighted.whiten @ weighted.centres.T, repeated.whiten @ repeated.centres.T)
    often = np.repeat(features[:, 0], times)
    assert quantile(features[:, 0], times.astype(float), 0.9) == quantile(often, np.ones(len(often)), 0.9)


def test_too_little_is_refused() -> None:
    refusal(lambda: fit_novelty(1, windows(50, 1), windows(19, 2)), "20 at least")
    refusal(lambda: ClassDistance.fit(np.zeros((0, 3)), np.zeros(0, int)), "no samples")
    refusal(lambda: ClassDistance.fit(np.ones((9, 3)), np.zeros(9, int)), "equals its class mean")


TRAINED_US, ACROSS = 10_000, 3
SPAN_US = 40_000


def lines(bin_us: int, offset: float = 0.0) -> Thresholds:
    """Each row is a line in time, plus `offset`: what lies between two bins is known in advance."""
    times = bin_us * np.arange(1, SPAN_US // bin_us + 1) / SPAN_US
    return Thresholds(**{f.name: 1 + n + offset + times for n, f in enumerate(fields(Thresholds))})


def make_known() -> NoveltyDetector:
    distance = ClassDistance(np.arange(6.0).reshape(2, ACROSS), np.eye(ACROSS))
    return NoveltyDetector(2, distance, lines(TRAINED_US), {us: lines(us, us / 1000) for us in (1000, 4000)})


AT_BINS = make_known()


@pytest.mark.parametrize("bin_us", [1000, 4000, TRAINED_US])
def test_where_lines_were_drawn_they_are_taken(bin_us: int) -> None:
    found = novelty_at(AT_BINS, bin_us, TRAINED_US, SPAN_US // bin_us)
    assert found is not None
    assert found.longest == SPAN_US // bin_us
    np.testing.assert_allclose(rows_of(found.lines), rows_of(AT_BINS.bins.get(bin_us) or AT_BINS.lines))
    assert found.distance is AT_BINS.distance


def test_between_two_bins_lines_are_those_of_both_at_the_same_time() -> None:
    found = novelty_at(AT_BINS, 2000, TRAINED_US, SPAN_US // 2000)
    assert found is not None
    times = 2000 * np.arange(1, 21) / SPAN_US
    at_4_ms = np.maximum(times, 0.1)  # whose first window is so long
    expected = 2.5 + (times + at_4_ms) / 2  # 2 ms lies in the middle of 1 and 4, by their logarithms
    np.testing.assert_allclose(found.lines.temperature, 1 + expected)


def test_there_is_nothing_below_the_shortest_and_for_a_model_of_one_bin() -> None:
    assert novelty_at(AT_BINS, 500, TRAINED_US, 80) is None
    assert novelty_at(NoveltyDetector(2, AT_BINS.distance, AT_BINS.lines), 5000, TRAINED_US, 8) is None


def test_its_arrays_hold_all_of_it() -> None:
    again = NoveltyDetector.from_state(AT_BINS.state())
    assert sorted(again.bins) == [1000, 4000]
    for found, expected in zip([again.lines, *again.bins.values()], [AT_BINS.lines, *AT_BINS.bins.values()]):
        np.testing.assert_allclose(rows_of(found), rows_of(expected), rtol=1e-6)
    assert again.layers == AT_BINS.layers
    np.testing.assert_array_equal(again.distance.centres, AT_BINS.distance.centres)


STATE = AT_BINS.state()
OLD = score.gathered(STATE)  # the lines of each span as one array [1, 8, T]


def set_row(row: int, value: float) -> dict[str, Any]:
    lines = OLD["lines"].copy()
    lines[0, row, 1] = value
    return {"lines": lines}


@pytest.mark.parametrize(
    ("state", "change", "words"),
    [
        (STATE, {"lines.kept": STATE["lines.kept"][:, :0]}, "all of one length"),
        (STATE, {"lines.kept": STATE["lines.kept"] * np.nan}, "finite"),
        (STATE, {"lines": OLD["lines"]}, "it must have"),
        (STATE, {"layers": np.zeros(2, np.float32)}, r"layers must be \[1\]"),
        (STATE, {"whiten": STATE["whiten"][:, :2]}, r"\[K, D\]"),
        (OLD, {"lines": OLD["lines"][:, :7]}, r"must be \[8, T\]"),
        *((OLD, set_row(row, 0.0), "must be positive") for row in (0, 2, 4)),
        (OLD, set_row(6, OLD["lines"][0, 5, 1]), "above"),
        (OLD, {"x.lines": OLD["1000.lines"]}, "named by their microseconds"),
        (OLD, {"3000.lines": OLD["1000.lines"] * np.nan}, "finite"),
    ],
)
def test_arrays_that_cannot_be_are_refused(state: dict[str, Any], change: dict[str, Any], words: str) -> None:
    NoveltyDetector.from_state(state)
    refusal(lambda: NoveltyDetector.from_state(state | change), words)


def plain_rates(network: nn.Module, layers: int, x_seq: torch.Tensor) -> torch.Tensor:
    rates = Rates(network, layers)
    with torch.inference_mode():
        network(x_seq.float(), None)
    rates.close()
    return rates.read()


@pytest.mark.skipif(library() is None, reason=engine_status())
@pytest.mark.parametrize("block", ["plain", "sew", "ms"])
@pytest.mark.parametrize("layers", [1, 3])
def test_the_engine_notes_the_rates_of_the_network(block: str, layers: int) -> None:
    network = lively(ResNetConfig(block, (1, 2), (16, 24), "small", "max", classes=7))  # type: ignore[arg-type]
    x_seq = inputs(4, 3)
    noted = Engine(network, 17, 13, rates=layers).run(x_seq)
    plainly = Engine(network, 17, 13).run(x_seq)
    expected = plain_rates(network, layers, x_seq)
    assert expected.shape[:2] == (4, 3)
    assert expected.mean() > 0.01
    torch.testing.assert_close(noted.rates, expected, rtol=0, atol=1e-6)
    assert torch.equal(noted.logits, plainly.logits)
    assert plainly.rates.shape == (4, 3, 0)


@pytest.mark.parametrize(("most", "layers"), [(10, 1), (16, 1), (32, 2), (48, 3), (999, 7)])
def test_the_first_layers_are_watched_up_to_so_many_channels(most: int, layers: int) -> None:
    network = SpikingResNet(ResNetConfig("ms", (1, 2), (16, 24)))  # neurons of 16, 16, 16, 24, 24, 24, 24 channels
    assert layers_to_watch(network, (2, 17, 13), most) == layers


@pytest.mark.skipif(library() is None, reason=engine_status())
@pytest.mark.parametrize("which", [slice(None), slice(0, 1)], ids=["all channels", "the first"])
def test_a_channel_of_which_all_fire_has_the_rate_one(which: slice) -> None:
    network = lively(ResNetConfig("ms", (1, 1), (16, 24), "small", "max", classes=7))
    first = next(module for module in network.modules() if isinstance(module, nn.BatchNorm2d))
    with torch.no_grad():
        first.bias[which] = 100.0
    x_seq = torch.ones(2, 3, 2, 80, 90, dtype=torch.uint8)  # of more places than a byte counts
    expected = plain_rates(network, 1, x_seq)
    assert (expected[:, :, which] == 1).all()
    torch.testing.assert_close(Engine(network, 80, 90, rates=1).run(x_seq).rates, expected, rtol=0, atol=1e-6)


WATCHED, STEP_US = 6, 20_000


def edges(random: np.random.Generator, width: int = 0, on: float = 0.5, noise: float = 0.0) -> NDArray[np.uint8]:
    """A window [T, 2, 40, 40] of a bar that moves, so many pixels wide or one to four, before noise."""
    width = width or int(random.integers(1, 5))
    x = np.zeros((WATCHED, 2, 40, 40), np.uint8)
    for step, at in enumerate(random.integers(2, 22) + np.arange(WATCHED)):
        polarity = (random.random((30, width)) > on).astype(int)
        rows, columns = np.indices(polarity.shape)
        x[step, 1 - polarity, 5 + rows, at + columns] = 1
    return x | (random.random(x.shape) < noise).astype(np.uint8)


@cache
def many(seed: int = 0, **how: Any) -> list[WindowStatistics]:
    random = np.random.default_rng(seed)
    return [measure(edges(random, **how), STEP_US) for _ in range(300)]


@cache
def profile() -> Profile:
    found = Profile.of(many())
    assert found is not None
    return found


def test_a_window_is_measured_by_its_events() -> None:
    x = np.zeros((2, 2, 10, 10), np.uint8)
    x[0, 1, 3, 3:5] = 1  # two side by side
    x[0, 0, 3, 3] = 1  # on one of them, too
    x[1, 0, 8, 8] = 1  # alone, in a corner of the other step
    assert measure(x, 50_000) == pytest.approx((2 * 4 / 400 / 0.05, 2 / 4, np.std([0.5] * 3 + [0.0] * 97) / 0.015))
    assert measure(0 * x, 50_000).rate == 0
    assert measure(np.ones_like(x), 50_000) == pytest.approx((40, 0.5, 0))


def test_still_scenes_tell_nothing_of_a_camera() -> None:
    still = measure(np.zeros((2, 2, 10, 10)), STEP_US)
    assert Profile.of([*many(), *[still] * 100]) == profile()
    assert Profile.of([still] * 100) is None
    assert Profile.of([]) is None
    assert Profile.of(many()[:20]) is None, "which tell no percentiles"


def test_fresh_windows_of_the_same_camera_are_let_pass() -> None:
    told = [compare(profile(), window) for window in many(seed=1)]
    assert sum(one is not None for one in told) <= 3


@pytest.mark.parametrize(
    ("how", "word"),
    [
        ({"width": 12}, "times the events that this model learnt from: raise"),
        ({"on": 0.02}, "2% of this camera's events are ON"),
        ({"noise": 0.03}, "more evenly over the view"),
    ],
    ids=["more events", "another balance", "noise"],
)
def test_another_camera_is_told_with_what_helps(how: dict[str, float], word: str) -> None:
    says = compare(profile(), typical(many(seed=2, **how)))
    assert says is not None
    assert word in says
    assert "spikesight teach" in says


def test_fewer_events_are_told_too() -> None:
    says = compare(profile(), typical(many())._replace(rate=profile().rate[0] / 5))
    assert "lower its contrast thresholds" in (says or "")


def watched(windows: list[NDArray[np.uint8]], anew: bool = False) -> ProfileWatch:
    watch = ProfileWatch(profile(), WATCHED, STEP_US)
    for window in windows:
        for number, x in enumerate(window):
            watch.push(x, anew and number == 0)
    return watch


def test_a_stream_is_judged_by_its_first_windows_in_which_something_moves() -> None:
    random = np.random.default_rng(3)
    wide, own = [edges(random, 12) for _ in range(3)], [edges(random) for _ in range(3)]
    still = [np.zeros_like(wide[0])] * 5
    assert watched([*still, *wide[:2]]).says is None
    says = watched([*still, *wide]).says
    assert says == watched([*wide, *own]).says
    assert says is not None
    assert watched([*own, *wide]).says is None


def test_a_window_does_not_span_a_jump_of_time() -> None:
    wide = edges(np.random.default_rng(5), 12)
    parts = [wide[:5], wide, wide, wide[:3]]
    assert watched(parts, anew=True).says is None
    assert watched([*parts, wide], anew=True).says is not None


@pytest.mark.parametrize("rate", [[1.0, 2.0], [2.0, 1.0, 3.0], [-1.0, 1.0, 2.0], [1.0, 2.0, float("nan")]])
def test_a_damaged_profile_is_refused(rate: list[float]) -> None:
    with pytest.raises(CheckpointError, match="three rising numbers"):
        from_json(Profile, {"rate": rate, "on": [0.0, 0.0, 0.5], "uneven": [0.0, 0.0, 0.0]})
