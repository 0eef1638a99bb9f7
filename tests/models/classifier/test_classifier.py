"""The classifier: one answer a step, the same whatever way a recording is cut, and images seen through saccades."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.native.build import library
from spikesight.encoders.pyramid import pyramid_of
from spikesight.model import Model
from spikesight.models.classifier import Classifier, Stepper
from spikesight.models.classifier.classifier import MOST_VIEWS
from spikesight.models.classifier.tracker import corner_of
from spikesight.models.contract import Card, Contract
from spikesight.models.engine.engine import why_not
from spikesight.models.networks.output_cells import CELL_WINDOW, STRIDE
from spikesight.models.networks.resnet import ResNetConfig, SpikingResNet
from spikesight.models.neurons.probe import brightness
from spikesight.models.novelty import NOTHING
from spikesight.models.shipped import find
from spikesight.models.steps import Input
from tests.support.inputs.samples import some_events
from tests.support.models import EVENT_CONTRACT, finding, lively, tiny

SENSOR = SensorSize(22, 16)  # not square, and not the network's size
CONTRACT = Contract("events", 2, 8, 11, 4, "binary", SENSOR.width, SENSOR.height, 10_000)


def make_classifier(contract: Contract = CONTRACT) -> Classifier:
    network = lively(ResNetConfig("ms", (1, 1), (4, 8), pool="max", in_channels=contract.channels, classes=3))
    return Classifier(network, Card(contract, ("a", "b", "c")))


CLASSIFIER = make_classifier()


def recording() -> np.ndarray:
    events = some_events(400, size=(SENSOR.width, SENSOR.height))
    events["t"] += 5_000
    return events


@pytest.mark.parametrize("bin_ms", [1, 10])
def test_a_recording_in_pieces_gives_the_same_inputs_one_at_a_time(bin_ms: int) -> None:
    classifier, events = make_classifier(replace(CONTRACT, shortest_bin_us=1000)).at(bin_ms), recording()
    drawn: list[int] = []

    def pieces() -> Iterator[np.ndarray]:
        for part in np.array_split(events, 20):
            drawn.append(len(part))
            yield part

    inputs = classifier.packet_inputs(pieces(), SENSOR)
    first = next(inputs)
    assert len(drawn) < 5  # no more is read than the first bin needs
    for ours, whole in zip([first, *inputs], classifier.event_inputs(events, SENSOR), strict=True):
        assert np.array_equal(ours.x, whole.x)
        assert (ours.start_us, ours.end_us, ours.n_events) == (whole.start_us, whole.end_us, whole.n_events)


def test_steps_that_are_made_at_once_are_those_made_one_by_one() -> None:
    inputs = CLASSIFIER.event_inputs(recording(), SENSOR)
    inputs[6] = inputs[6]._replace(reset=True)
    together, single = Stepper(CLASSIFIER), Stepper(CLASSIFIER)
    answers = list(together.steps(inputs))
    for ours, other in zip(answers, map(single.step, inputs), strict=True):
        assert replace(ours.prediction, latency_ms=0) == replace(other.prediction, latency_ms=0)
        for name in ("step_label", "layer_spikes", "total_synops"):
            assert getattr(ours, name) == getattr(other, name), name
    assert len(answers) > CONTRACT.steps


@pytest.mark.parametrize("size", [(34, 34), (128, 128), (346, 260), (640, 480)])
@pytest.mark.parametrize("count", [0, 1, 9])
@pytest.mark.parametrize("name", ["nmnist", "motions"])
def test_a_recording_of_which_no_event_is_left_is_nothing(name: str, size: tuple[int, int], count: int) -> None:
    """One event is filtered as noise, and so are nine at places and times far from each other."""
    model, n = Model(Classifier.load(find(name))), np.arange(count)
    events = make_events(100_000 * n, n * 3, n * 3, n >= 0)
    assert model.predict(events, size).label == NOTHING
    assert [step.label for step in model.steps(events, size)][-1] == NOTHING
    assert [segment.label for segment in model.segments(events, size)] == [NOTHING]
    assert len(model.trace(events, size).probabilities) == len(model.steps(events, size))
    bare = Classifier(model.classifier.network, replace(model.classifier.card, novelty=None, conformal=None))
    assert Model(bare).predict(events[:1], size).label == NOTHING, "without a calibration, too"


@pytest.mark.parametrize("side", [32, 64, 128, 320])  # in the sums of the largest all noise cancels
def test_a_short_recording_of_noise_alone_is_answered_with_no_label(side: int) -> None:
    model, random, count = Classifier.load(find("nmnist")), np.random.default_rng(side), 2 * side**2  # 10 Hz a pixel
    t, x, y = np.sort(random.integers(0, 200_000, count)), *random.integers(0, side, (2, count))
    last = model.predict_events(make_events(t, x, y, random.random(count) < 0.5), SensorSize(side, side))[-1]
    assert last.label not in model.labels
    assert last.end_us >= t[-1]


def test_one_prediction_a_bin_with_the_bins_own_times() -> None:
    events = recording()
    predictions = CLASSIFIER.predict_events(events, SENSOR)
    start = int(events["t"][0])
    assert [p.start_us for p in predictions] == [start + 10_000 * n for n in range(len(predictions))]
    assert [p.step for p in predictions] == list(range(1, len(predictions) + 1))
    assert sum(p.n_events for p in predictions) == len(events)
    assert sum(predictions[-1].probabilities) == pytest.approx(1)
    assert predictions[-1].spikes > 0
    assert 0 < predictions[-1].synops < CLASSIFIER.ann_macs


@pytest.mark.parametrize("still", ["digit", "plain"])
@pytest.mark.parametrize("shape", [(28, 28), (60, 90, 3)])
def test_an_event_model_sees_a_still_image_through_saccades(still: str, shape: tuple[int, ...]) -> None:
    image = np.zeros(shape, np.uint8)
    image[8:20, 12:16] = 250
    classifier = make_classifier(replace(CONTRACT, still=still))  # type: ignore[arg-type]
    first, again = classifier.predict_image(image), classifier.predict_image(image)
    assert [p.logits for p in first] == [p.logits for p in again]
    assert sum(p.n_events for p in first) > 20


def test_that_a_model_tells_motions_stands_in_its_card_whatever_its_labels_are() -> None:
    assert Classifier.load(find("motions")).kinds == ("recording",)
    hands = Classifier(CLASSIFIER.network, replace(CLASSIFIER.card, labels=("left", "right", "none")))
    assert hands.kinds == ("recording", "image")


def test_a_network_that_the_engine_does_not_take_runs_all_the_same_and_says_so() -> None:
    torch.manual_seed(0)
    network = SpikingResNet(ResNetConfig("ms", (1, 1), (4, 8), pool="max", classes=3, spiking_readout=True))
    classifier = Classifier(network, Card(CONTRACT, ("a", "b", "c")))
    assert library() is None or why_not(network) == "its logits are spikes"
    assert classifier.runs_on == f"PyTorch ({why_not(network)})"
    assert classifier.slow
    assert len(classifier.predict_events(recording(), SENSOR)) == 10


def test_without_the_engine_a_run_is_its_steps_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKESIGHT_PRECISION", "none that it knows")
    classifier = tiny()
    assert classifier.slow
    x_seq = torch.randint(0, 2, (3, 2, *EVENT_CONTRACT.shape), generator=torch.Generator().manual_seed(0)).byte()
    done, state, steps = classifier.run(x_seq, classifier.initial_state(2)), classifier.initial_state(2), []
    for x in x_seq:
        steps.append(classifier.step(x, state))
        state = steps[-1].state
    for name in ("logits", "rates", "layer_spikes", "synops"):
        assert torch.equal(getattr(done, name), torch.stack([getattr(step, name) for step in steps])), name
    assert all(torch.equal(done.state[key], state[key]) for key in state)


VIEWS = [(2, STRIDE * (CELL_WINDOW + n), STRIDE * (CELL_WINDOW + 3)) for n in range(MOST_VIEWS + 1)]


def test_a_view_without_the_engine_has_the_answers_it_has_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with_it = finding()
    monkeypatch.setenv("SPIKESIGHT_PRECISION", "none that it knows")
    without = finding()
    assert without.slow
    x = torch.rand(2, *VIEWS[2], generator=torch.Generator().manual_seed(0)).lt(0.1).byte()
    states = [model.initial_state(2, VIEWS[2]) for model in (with_it, without)]
    for _ in range(4):
        ours, plain = (model.step(x, state, [True, True]) for model, state in zip((with_it, without), states))
        states = [ours.state, plain.state]
        assert ours.logits.shape == (2, 3 * 4 * 3)
        assert (ours.logits - plain.logits).abs().max() < 1e-3
        assert torch.equal(ours.layer_spikes, plain.layer_spikes)
        assert torch.equal(ours.fired, plain.fired)
    assert with_it.runner(VIEWS[2]).maps == without.runner(VIEWS[2]).maps != with_it.maps()
    places = [model.runner(VIEWS[2]).membranes(state, 1, 2, 3, 4) for model, state in zip((with_it, without), states)]
    np.testing.assert_allclose(*places, atol=1e-4)  # type: ignore[arg-type]


def test_inside_a_view_its_likeliest_place_is_shown_as_large_as_what_the_network_reads() -> None:
    classifier, pyramid = finding(), pyramid_of(SensorSize(96, 80))
    x = torch.rand(2, pyramid.height, pyramid.width, generator=torch.Generator().manual_seed(1)).lt(0.2).byte()
    given = Input(x.numpy(), 0, 10, 1, False, pyramid=pyramid)
    result = classifier.step(x[None], classifier.initial_state(1, tuple(x.shape)), [True])
    row, column = corner_of(pyramid, result.logits[0].numpy().reshape(-1, len(classifier.labels)))
    inside = classifier.inside(given, result, 0, (1, 2, 3))
    np.testing.assert_array_equal(inside.input, brightness(given.x[:, row : row + 34, column : column + 34]))
    runner, begin, bits, at = classifier.runner(tuple(x.shape)), 0, result.fired[0].numpy(), 0
    for layer, (whole, part) in enumerate(zip(runner.maps, classifier.maps())):
        stride, deep = round(x.shape[1] / whole.height), -(-whole.channels // 16) * 2
        all_of_it = bits[begin : (begin := begin + whole.height * whole.width * deep)]
        shown = inside.fired[at : (at := at + part.height * part.width * deep)].reshape(part.height, part.width, deep)
        top, left = row // stride, column // stride
        cut = all_of_it.reshape(whole.height, whole.width, deep)[top : top + part.height, left : left + part.width]
        np.testing.assert_array_equal(shown, cut)
        if layer == 1:
            held = runner.membranes(result.state, 0, 1, top + 2, left + 3)
            np.testing.assert_array_equal(inside.membranes, held)  # type: ignore[arg-type]
    assert at == len(inside.fired) < len(bits)
    assert classifier.inside(given, result, 0, (1, 99, 3)).membranes is None


def test_what_runs_a_view_is_kept_for_those_that_were_looked_at_last() -> None:
    model, own = finding(), finding().contract.shape
    runners = [model.runner(shape) for shape in VIEWS[:-1]]
    assert model.runner(VIEWS[0]) is runners[0]
    assert model.runner(VIEWS[-1]).shape == VIEWS[-1]
    assert model.runner(VIEWS[0]) is runners[0], "it was asked for since"
    assert model.runner(VIEWS[1]) is not runners[1]
    assert model.runner(own) is model.runner(own)


@pytest.mark.parametrize("shape", [(2, 41, 40), (2, 40, 32), (3, 40, 40), (2, 40), (1, 2, 40, 40), (2, 35, 34), ()])
def test_inputs_of_a_shape_that_is_no_view_are_refused(shape: tuple[int, ...]) -> None:
    model = finding()
    assert not model.takes(shape)
    assert model.takes(VIEWS[0])
    assert not tiny().takes(VIEWS[0]), "it does not look for things"
    with pytest.raises(ValueError, match=r"an input must be \[2, 34, 34\]"):
        model.runner(shape)
