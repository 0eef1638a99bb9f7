"""All that a stream carries is in its snapshot: taken up anywhere, it goes on as the undisturbed one, bit for bit."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import cv2
import numpy as np
import pytest

from spikesight.encoders.emulator.noise import with_noise
from spikesight.encoders.emulator.pixels import Emulator
from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.roi.window import Window
from spikesight.models.classifier import Classifier
from spikesight.models.classifier.session import Session
from spikesight.models.shipped import find
from spikesight.models.steps import Input
from spikesight.service.stream.snapshot import SnapshotError, pack, unpack
from tests.support.models import EVENT_CONTRACT, IMAGE_CONTRACT, promising, tiny
from tests.support.serving.resumed import KEY, Act, packets, played
from tests.support.serving.streams import Alone

SMALL, LARGE = SensorSize(34, 34), SensorSize(320, 240)
OBJECT = replace(EVENT_CONTRACT, frame="object", filter_us=2000, shortest_bin_us=1000)


@cache
def shipped(name: str, bin_ms: float | None = None) -> Classifier:
    classifier = Classifier.load(find(name))
    return classifier if bin_ms is None else classifier.at(bin_ms)


@cache
def committing() -> Classifier:
    return promising()


@cache
def watchful() -> Classifier:
    return promising(known=np.ones(1000))


@cache
def taught(bin_ms: float) -> Classifier:
    return tiny(OBJECT, "taught").at(bin_ms)


def sheet(turn: float, sensor: SensorSize = LARGE) -> np.ndarray:
    """A seven that trembles on paper."""
    image = np.full((240, 320), 230, np.uint8)
    x, y = round(110 + 3 * np.sin(turn)), round(60 + 3 * np.cos(turn / 0.7))
    cv2.line(image, (x, y), (x + 80, y), 30, 14)
    cv2.line(image, (x + 80, y), (x + 30, y + 120), 30, 14)
    return np.asarray(cv2.resize(image, (sensor.width, sensor.height)), np.uint8)


@cache
def trembling(sensor: SensorSize, span_us: int = 500_000) -> Events:
    """A drawing before a sensor with noise and pixels that never rest; a clock that begins anew, and late events."""
    camera = Emulator(sensor)
    parts = [camera.push(sheet(t / 30_000, sensor), t) for t in range(0, span_us, 10_000)]
    clean = np.concatenate(parts)
    events = with_noise(clean, sensor, 8.0, 0.001, random=np.random.default_rng(7))
    late = np.random.default_rng(8).integers(0, len(events), len(events) // 50)
    events["t"][late] -= 5_000
    again = events[: len(events) // 4].copy()
    return np.concatenate([events, again])


MADE: dict[str, tuple[Callable[[], Session], SensorSize]] = {
    **{
        f"nmnist at {ms} ms, {size.width} pixels": (lambda ms=ms, size=size: Session(shipped("nmnist", ms), size), size)
        for ms, size in ((31, SMALL), (1, SMALL), (10, LARGE))
    },
    "a model that commits itself": (lambda: Session(committing(), SMALL), SMALL),
    "a model that finds all of it shifted": (lambda: Session(watchful(), SMALL), SMALL),
    "nmnist, 640 pixels": (lambda: Session(shipped("nmnist"), SensorSize(640, 480)), SensorSize(640, 480)),
    "nmnist, raw": (lambda: Session(shipped("nmnist", 5), LARGE, raw=True), LARGE),
    "nmnist, a fixed window": (lambda: Session(shipped("nmnist", 5), LARGE, fixed=Window(60, 20, 200)), LARGE),
    **{
        f"motions, {size.width} pixels": (lambda size=size: Session(shipped("motions"), size), size)
        for size in (SensorSize(70, 70), LARGE)
    },
    **{
        f"taught at {ms} ms, {size.width} pixels": (lambda ms=ms, size=size: Session(taught(ms), size), size)
        for ms, size in ((10, SMALL), (1, SMALL), (5, LARGE))
    },
    **{
        f"several at {ms} ms, {size.width} pixels": (
            lambda ms=ms, size=size: Session(shipped("nmnist", ms), size, objects=8), size
        )
        for ms, size in ((31, LARGE), (5, LARGE), (10, SMALL))
    },
    "several taught": (lambda: Session(taught(10), LARGE, objects=3), LARGE),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_taken_up_anywhere_a_stream_goes_on_bit_for_bit(name: str) -> None:
    make, sensor = MADE[name]
    events, random = trembling(sensor), np.random.default_rng(len(name))
    acts = packets(events, random.integers(0, len(events), 8).tolist())
    whole = played(make, acts)
    assert sum(len(inputs) for inputs, *_ in whole) >= 15
    assert played(make, acts, random.choice(len(acts), 4, replace=False).tolist()) == whole


def test_a_drawing_is_still_looked_at_where_the_stream_goes_on() -> None:
    make, _ = MADE["nmnist at 10 ms, 320 pixels"]
    events = trembling(LARGE)
    acts = packets(events, range(0, len(events), len(events) // 40))
    whole = played(make, acts)
    assert any(window is not None for *_, window, _ in whole)
    assert played(make, acts, range(len(acts))) == whole, "moved before every packet"


def frame_of(number: int, every_us: int) -> Act:
    return lambda session: session.frame(np.repeat(sheet(number / 2)[..., None], 3, 2), number * every_us)


def tuned(threshold: float | None, noise_hz: float | None) -> Act:
    def act(session: Session) -> list[Input]:
        session.settings(threshold, noise_hz)
        return []

    return act


def forgotten(session: Session) -> list[Input]:
    session.reset()
    return []


FILMED = {
    "frames that are tracked": lambda: Session(shipped("nmnist", 10)),
    "pixels": lambda: Session(shipped("motions")),
    "pixels of an object": lambda: Session(taught(5)),
    "several before an eye": lambda: Session(shipped("nmnist", 10), objects=8),
    "steps": lambda: Session(shipped("mnist-direct")),
    "steps of several": lambda: Session(shipped("mnist-direct"), objects=4),
    "codes of a seed": lambda: Session(tiny(replace(IMAGE_CONTRACT, encoding="rate"), "pixels")),
}


@pytest.mark.parametrize("name", FILMED)
def test_a_stream_of_frames_goes_on_bit_for_bit(name: str) -> None:
    acts = [frame_of(n, 33_333) for n in range(24)]
    acts[6:6] = [tuned(0.3, None)]
    acts[15:15] = [tuned(None, 5.0), forgotten]
    acts.append(frame_of(3, 33_333))  # a clock that begins anew
    moves = np.random.default_rng(0).choice(len(acts), 6, replace=False).tolist()
    whole = played(FILMED[name], acts)
    assert sum(len(inputs) for inputs, *_ in whole) > 12
    assert played(FILMED[name], acts, moves) == whole


def test_what_was_asked_for_and_not_yet_done_is_kept() -> None:
    make = partial(Session, tiny(), SensorSize(24, 32))
    acts: list[Act] = [
        lambda s: s.push(make_events([0, 11_000], [1, 1], [1, 1], [1, 1])),
        forgotten,
        lambda s: s.push(make_events([21_000, 31_000], [1, 1], [1, 1], [1, 1])),
    ]
    whole = played(make, acts, [2])
    assert whole == played(make, acts)
    assert [one[4] for one in whole[2][0]] == [True, False]


def test_every_part_of_a_state_is_a_copy() -> None:
    scripts = [(make, [partial(Session.push, events=part) for part in np.array_split(trembling(sensor)[:12_000], 12)])
               for make, sensor in MADE.values()]  # fmt: skip
    scripts += [(make, [frame_of(n, 33_333) for n in range(8)]) for make in FILMED.values()]
    for make, acts in scripts:
        session, other = make(), make()
        for act in acts[:4]:
            act(session)
        before = session.state()
        kept = {name: value.copy() for name, value in before.items() if isinstance(value, np.ndarray)}
        other.restore(before)
        for act in acts[4:]:
            act(session)
            act(other)
        assert all(np.array_equal(before[name], value) for name, value in kept.items())


@pytest.mark.attack("WebSocket", "a snapshot of weights that were replaced since, or of another bin", "1008, and why")
def test_a_snapshot_is_of_its_weights_and_bin() -> None:
    sensor, events = SensorSize(24, 32), trembling(SensorSize(24, 32))
    fine = tiny(replace(EVENT_CONTRACT, shortest_bin_us=1000))
    alone = Alone(Session(fine, sensor))
    alone.step(alone.session.push(events[:500]))
    data = pack(alone.session, alone.state, KEY)
    again = tiny(replace(EVENT_CONTRACT, shortest_bin_us=1000))
    unpack(Session(again, sensor), data, KEY)
    others = [
        tiny(replace(EVENT_CONTRACT, shortest_bin_us=1000), seed=5),
        fine.at(5),
        promising(replace(EVENT_CONTRACT, shortest_bin_us=1000), "tiny"),
        tiny(replace(EVENT_CONTRACT, shortest_bin_us=1000, filter_us=2000)),
    ]
    for other in others:
        with pytest.raises(SnapshotError, match="another bin, or of weights"):
            unpack(Session(other, sensor), data, KEY)
