"""Sessions: any cutting of a stream gives the offline logits, bit for bit; resets, frames."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from spikesight.encoders.emulator.pixels import Emulator
from spikesight.encoders.events import SensorSize, empty_events, make_events
from spikesight.encoders.pyramid import pyramid_of
from spikesight.models.classifier import Classifier, Stepper
from spikesight.models.classifier.session import Session, luma, split_packet
from spikesight.models.networks.metering import dense_macs
from spikesight.models.shipped import find
from spikesight.models.steps import Answer, Input, SessionError
from tests.support.inputs.samples import some_events
from tests.support.inputs.things import digit_on_paper
from tests.support.models import EVENT_CONTRACT, IMAGE_CONTRACT, finding, promising, tiny
from tests.support.serving.streams import Alone

CLASSIFIER = tiny()
SENSOR = SensorSize(EVENT_CONTRACT.sensor_width, EVENT_CONTRACT.sensor_height)


def logits(answers: list[Answer]) -> list[tuple[float, ...]]:
    return [answer.prediction.logits for answer in answers]


def offline(events: np.ndarray, classifier: Classifier = CLASSIFIER, sensor: SensorSize = SENSOR) -> list:
    return [prediction.logits for prediction in classifier.predict_events(events, sensor)]


@hypothesis_settings(max_examples=40)
@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(0, 400), max_size=12), width=st.sampled_from([24, 31, 64]))
def test_any_cutting_gives_the_offline_logits(seed: int, cuts: list[int], width: int) -> None:
    sensor = SensorSize(width, 32)
    events = some_events(400, seed=seed, size=(width, 32))
    alone = Alone(Session(CLASSIFIER, sensor))
    answers: list[Answer] = []
    for part in np.split(events, sorted(cuts)):
        answers += alone.step(alone.session.push(part))
    answers += alone.step(alone.session.flush())
    assert logits(answers) == offline(events, sensor=sensor)


@pytest.mark.parametrize("pieces", [2, 9, 50])
def test_in_a_view_time_goes_by_what_came_and_answers_are_the_same_however_it_is_cut(pieces: int) -> None:
    classifier, sensor = finding(), SensorSize(96, 80)
    jumps = [some_events(300, seed=n, size=(96, 80)) for n in range(3)]
    jumps[1]["t"] += 60_000_000
    events = np.concatenate(jumps)  # silence for a minute, then a clock that begins anew
    alone = Alone(Session(classifier, sensor))
    inputs = [given for part in np.array_split(events, pieces) for given in alone.session.push(part)]
    inputs += alone.session.flush()
    whole = classifier.event_inputs(events, sensor)
    answers = [replace(answer.prediction, latency_ms=0.0) for answer in alone.step(inputs)]
    assert answers == [replace(one, latency_ms=0.0) for one in classifier.predict(whole)]
    assert [tuple(given)[1:] for given in inputs] == [tuple(given)[1:] for given in whole]
    assert all(np.array_equal(a.x, b.x) for a, b in zip(inputs, whole))
    span = int(jumps[0]["t"][-1] - jumps[0]["t"][0])
    assert len(whole) >= 3 * (span // EVENT_CONTRACT.bin_us), "though no drawing is there"
    assert sum(given.reset for given in whole) == 2


@pytest.mark.parametrize("seen_as", ["frames", "events"])
def test_an_empty_desk_is_nothing_and_then_a_digit_is_seen(seen_as: str) -> None:
    classifier, random = Classifier.load(find("nmnist")), np.random.default_rng(0)
    sensor = SensorSize(320, 240)
    alone, camera = Alone(Session(classifier, sensor)), Emulator(sensor)
    said: list[str] = []
    for n in range(75):
        digit = digit_on_paper(n / 15)[::2, ::2] if n >= 40 else np.full((240, 320, 3), 128, np.uint8)
        frame = (digit + random.normal(0, 5, digit.shape)).clip(0, 255).astype(np.uint8)
        t_us = (n + 1) * 33_333
        live = alone.session
        given = live.frame(frame, t_us) if seen_as == "frames" else live.push(camera.push(luma(frame), t_us))
        said += [answer.step_label for answer in alone.step(given)]
        if n == 39:
            assert len(said) > 35
            assert set(said) == {"nothing"}
    assert said[-1] == "3" or (seen_as == "events" and "3" in said)  # a card that swings is lost and found again


def test_two_digits_in_a_picture_are_two() -> None:
    classifier, sheet = Classifier.load(find("nmnist")), np.full((240, 320, 3), 240, np.uint8)
    for left, word in ((30, "3"), (190, "2")):
        cv2.putText(sheet, word, (left, 170), cv2.FONT_HERSHEY_SIMPLEX, 3.0, (40, 36, 34), 12)
    *_, last = Stepper(classifier).steps(classifier.image_inputs(sheet))
    assert [one.label for one in last.prediction.objects or ()] == ["3", "2"]


def test_an_ann_would_look_at_the_whole_view_too() -> None:
    model = finding()
    session, small = Session(model, SensorSize(320, 240)), Session(model)
    pyramid = pyramid_of(session.sensor)
    whole = dense_macs(model.network, 2, pyramid.height, pyramid.width)
    assert (small.ann_macs, session.ann_macs) == (model.ann_macs, pytest.approx(whole, rel=0.15))


def test_before_a_camera_a_network_that_finds_nothing_sees_all_of_it_as_one_thing() -> None:
    model = tiny(replace(EVENT_CONTRACT, sensor_width=40, sensor_height=40))
    session = Session(model, SensorSize(70, 70))
    inputs = session.push(some_events(600, size=(70, 70)))
    assert {given.x.shape for given in inputs} == {EVENT_CONTRACT.shape}
    with pytest.raises(SessionError, match="one object"):
        Session(model, SensorSize(70, 70), objects=2)


@pytest.mark.parametrize(("size", "grid"), [((320, 240), (192, 144)), ((40, 30), (120, 90)), ((64, 64), (64, 64))])
def test_frames_of_any_size_are_a_view_with_boxes_in_their_pixels(size: tuple[int, int], grid: tuple[int, int]) -> None:
    width, height = size
    session = Session(finding())
    still = np.zeros((height, width, 3), np.uint8)
    still[height // 4 : height // 2, width // 4 : width // 2] = 200
    inputs = [given for n in range(10) for given in session.frame(still, n * 33_333)]
    assert session.sensor == SensorSize(*grid)
    assert sum(given.n_events for given in inputs) > 100, "though nothing moves"
    pyramid = inputs[-1].pyramid
    assert pyramid is not None
    assert pyramid.levels[0].factor == pytest.approx(width / grid[0])
    boxes = pyramid.boxes(16.5, 8, pyramid.height // 8 - 4, pyramid.width // 8 - 4)
    assert 0.6 < (boxes[:, 0] + boxes[:, 2] / 2).max() / width <= 1


@pytest.mark.parametrize("shift_us", [60_000_000, -10_000_000])
def test_behind_a_long_silence_or_a_clock_that_goes_back_the_network_begins_anew(shift_us: int) -> None:
    first, second = some_events(100), some_events(100, seed=1)
    first["t"] += 10_000_000
    second["t"] += 10_000_000 + shift_us
    alone = Alone(Session(CLASSIFIER, SENSOR))
    answers = alone.step(alone.session.push(first) + alone.session.push(second) + alone.session.flush())
    (at,) = [n for n, answer in enumerate(answers) if answer.reset]
    assert answers[at].prediction.step == 1
    assert logits(answers)[at:] == offline(second)


def test_an_empty_window_is_a_prediction_and_a_reset_that_of_the_next_input() -> None:
    alone = Alone(Session(CLASSIFIER, SENSOR))
    alone.step(alone.session.push(make_events([0], [1], [1], [1])))
    alone.session.reset()
    answers = alone.step(alone.session.tick(35_000))
    assert [answer.prediction.n_events for answer in answers] == [1, 0, 0]
    assert [answer.reset for answer in answers] == [True, False, False]
    assert alone.session.push(empty_events()) == []


def test_pieces_bound_the_bins_and_keep_them() -> None:
    session = Session(CLASSIFIER, SENSOR)
    events = some_events(200, span_us=3_000_000)
    whole = Session(CLASSIFIER, SENSOR).push(events)
    parts = list(split_packet(events, session, 8))
    cut = [session.push(part) for part in parts]
    assert max(map(len, cut)) <= 8 + 20  # a piece, and the longest silence before its first event
    together = [given for inputs in cut for given in inputs]
    assert [given.start_us for given in together] == [given.start_us for given in whole]
    assert all(np.array_equal(a.x, b.x) for a, b in zip(together, whole))


@pytest.mark.parametrize("before", [0, 3])
def test_frames_of_another_size_reset_what_was_given_before_answered_or_not(before: int) -> None:
    session, random = Session(CLASSIFIER), np.random.default_rng(0)

    def filmed(size: tuple[int, int], first: int, count: int = 3) -> list[Input]:
        frames = [random.integers(0, 255, (*size, 3), np.uint8) for _ in range(count)]
        return [given for n, frame in enumerate(frames, first) for given in session.frame(frame, n * 33_333)]

    assert not any(given.reset for given in filmed((30, 40), 0, before))
    again = filmed((30, 41), before)
    assert session.sensor == SensorSize(41, 30)
    assert [given.reset for given in again] == [before > 0, *[False] * (len(again) - 1)]
    assert not any(given.reset for given in filmed((30, 41), before + 3))


@pytest.mark.parametrize(("encoding", "a_frame"), [("direct", 1), ("rate", 1), ("latency", IMAGE_CONTRACT.steps)])
def test_frames_of_an_image_model(encoding: str, a_frame: int) -> None:
    session = Session(tiny(replace(IMAGE_CONTRACT, encoding=encoding), "pixels"))
    first = session.frame(np.full((20, 20, 3), 99, np.uint8), 1_000_000)
    second = session.frame(np.full((20, 20, 3), 99, np.uint8), 1_033_000)
    assert [len(first), len(second)] == [a_frame, a_frame]
    assert second[0].x.shape == (3, 16, 16)
    assert second[0].reset == (a_frame > 1)
    assert session.frame(np.full((20, 20, 3), 99, np.uint8), 9_000_000)[0].reset
    with pytest.raises(SessionError):
        session.push(empty_events())


def test_settings_reach_the_pixels_whenever_they_are_said() -> None:
    """A threshold three times as high is crossed by fewer changes, noise is events of its own."""

    def count(threshold: float | None, noise_hz: float | None, when: int) -> int:
        session, n = Session(finding()), 0
        for number in range(12):
            if number == when:
                session.settings(threshold, noise_hz)
            session.frame(digit_on_paper(number / 15), number * 33_333)
            n += len(session.seen)
        return n

    usual = count(None, None, 0)
    assert usual > 100
    for when in (0, 6):
        assert count(0.6, None, when) < 0.8 * usual
        assert count(None, 50.0, when) > 1.1 * usual


def test_on_another_network_the_read_out_begins_anew_by_the_streams_own_rules() -> None:
    old, new = promising(), promising(name="newer")
    session = Session(old, SENSOR, error_rate=0.2)
    alone = Alone(session)
    alone.step(session.push(some_events(300)))
    assert session.readout.seen > 3
    session.switch_network(new)
    fresh = Session(new, SENSOR, error_rate=0.2)
    track, other = session.readout.one, fresh.readout.one
    assert (track.seen, track.readout.mean, session.rest.quiet) == (0, None, 0)
    assert track.stable == other.stable
    assert track.rule is not None
    assert track.rule.error_rate == 0.2
    later = some_events(100, seed=1)
    later["t"] += some_events(300)["t"][-1]
    undisturbed = Session(old, SENSOR)
    undisturbed.push(some_events(300))
    ours, theirs = ([given.x.tobytes() for given in one.push(later)] for one in (session, undisturbed))
    assert ours == theirs


@pytest.mark.parametrize("switched", [False, True])
def test_on_another_network_silence_is_counted_anew(switched: bool) -> None:
    classifier = promising(known=np.linspace(0.5, 1, 30))
    session, bin_us = Session(classifier, SENSOR), EVENT_CONTRACT.bin_us
    session.push(some_events(100))
    session.tick(int(some_events(100)["t"][-1]) + (EVENT_CONTRACT.steps + 2) * bin_us)
    if switched:
        session.switch_network(promising(known=np.linspace(0.5, 1, 30)))
    later = some_events(400)
    later["t"] += some_events(100)["t"][-1] + (EVENT_CONTRACT.steps + 2) * bin_us
    assert any(given.reset for given in session.push(later)) != switched, "a reset ends a silence"


def test_an_overflow_is_refused_in_a_view_too() -> None:
    classifier = finding()
    with torch.no_grad():
        classifier.network.readout.weight.fill_(3e38)  # type: ignore[operator]
    alone = Alone(Session(Classifier(classifier.network, classifier.card, "huge"), SensorSize(96, 80)))
    inputs = alone.session.push(some_events(300, size=(96, 80)))
    with pytest.raises(SessionError, match="too large"):
        alone.step(inputs)


def test_time_goes_on_to_the_last_event_whatever_was_let_through() -> None:
    session = Session(tiny(replace(EVENT_CONTRACT, filter_us=10)))
    pair = make_events([0, 5, 10], [1, 2, 1], [2, 2, 2], [1, 1, 1])
    lone = make_events([35_000], [20], [20], [1])
    assert session.push(pair) == []
    assert [given.n_events for given in session.push(lone)] == [2, 0, 0]
    assert session.push(lone[:0]) == []


@pytest.mark.parametrize(("pause_us", "events"), [(400_000, True), (700_000, False), (1_500_000, False)])
def test_the_bins_of_a_long_pause_between_frames_show_nothing(pause_us: int, events: bool) -> None:
    session, late = Session(finding()), 20 * 33_333
    for n in range(20):
        session.frame(digit_on_paper(0.1), n * 33_333)
    inputs = session.frame(digit_on_paper(0.1), late + pause_us)
    paused = [given for given in inputs if late < given.start_us and given.end_us < late + pause_us - 10_000]
    assert len(paused) > 8
    assert any(given.n_events for given in paused) == events
