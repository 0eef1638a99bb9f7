"""Which examples a folder of recordings gives to a head: whole ones, windows, some by chance, or thinned."""

from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch

from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.recordings.files import digest, write_recording
from spikesight.models.checkpoint import load, save
from spikesight.training.data.sets import DataError, Item
from spikesight.training.teach.examples import ExamplePlan, plan, read_examples
from spikesight.training.teach.teach import teach
from tests.support.models import tiny
from tests.support.refusals import refusal

SENSOR = SensorSize(20, 16)


def record(path: Path, seconds: float, rate: int = 2000, quiet: tuple[float, float] = (0, 0)) -> Path:
    """Even events, but for a while in which there are none."""
    t = np.arange(0, round(seconds * 1e6), round(1e6 / rate))
    t = t[(t < quiet[0] * 1e6) | (t >= quiet[1] * 1e6)]
    path.parent.mkdir(parents=True, exist_ok=True)
    x = np.random.default_rng(crc32(bytes(path))).integers(0, 20, len(t))  # no two files are alike
    write_recording(path, make_events(t, x, t % 16, t % 2), SENSOR, "npz")
    return path


def things(folder: Path, count: int) -> Path:
    """So many recordings of a cup and of a phone, each at a rate of its own."""
    for number, label in enumerate(("cup", "phone")):
        for n in range(count):
            record(folder / label / f"{n}.npz", 0.64, rate=500 + 300 * number + n)
    return folder


def test_five_short_recordings_a_class_are_examples_as_they_are(tmp_path: Path) -> None:
    for label in ("cup", "phone"):
        for n in range(5):
            record(tmp_path / label / f"{n}.npz", 0.64)
    found = plan(tmp_path)
    assert (found.labels, found.sensor) == (("cup", "phone"), SENSOR)
    assert (found.steps, found.slices, found.bin_us) == (64, 4, 10_000)
    assert [item.label for item in found.items] == [0] * 5 + [1] * 5
    assert {item.length_us for item in found.items} == {0}
    read = list(read_examples(found))
    assert [(one.label, Path(one.piece).name) for one in read[4:6]] == [("cup", "4.npz"), ("phone", "0.npz")]
    assert all(len(one.events) == 1280 for one in read)
    (tmp_path / "phone" / "4.npz").unlink()
    assert plan(tmp_path).steps == 10, "four are too few to be learnt whole"


@pytest.mark.parametrize(("window_ms", "windows"), [(100, 20), (500, 4), (300, 7)])
def test_windows_follow_each_other_through_a_recording(window_ms: int, windows: int, tmp_path: Path) -> None:
    for label in ("cup", "phone"):
        record(tmp_path / label / "a.npz", 2.0)
    found = plan(tmp_path, window_ms=window_ms)
    assert (found.steps, found.slices, found.bin_us) == (10, 1, window_ms * 100)
    assert [item.label for item in found.items] == [0] * windows + [1] * windows
    assert {item.length_us for item in found.items} == {window_ms * 1000}
    assert found.items[0].begin_us == 0
    assert found.items[windows - 1].begin_us == pytest.approx(2_000_000 - window_ms * 1000, abs=10_000)
    read = list(read_examples(found))
    assert {len(one.events) for one in read} <= {2 * window_ms, 2 * window_ms - 1}
    assert all(one.events["t"][0] < 1000 and one.events["t"][-1] < window_ms * 1000 for one in read)


def test_windows_with_a_hundredth_of_the_usual_events_are_left_out(tmp_path: Path) -> None:
    record(tmp_path / "cup" / "a.npz", 3.0, quiet=(1.0, 2.0))
    record(tmp_path / "phone" / "a.npz", 3.0)
    assert begins(plan(tmp_path, window_ms=500), 0) == [0, 5, 20, 25]


def test_one_class_is_none_to_choose_from(tmp_path: Path) -> None:
    record(tmp_path / "cup" / "a.npz", 1.0)
    record(tmp_path / "cup" / "b.npz", 1.0)
    refusal(lambda: plan(tmp_path, layout="classes"), "one class, 'cup': a second is needed", DataError)


def begins(found: ExamplePlan, label: int) -> list[int]:
    return [round(item.begin_us / 1e5) for item in found.items if item.label == label]


def test_so_many_shots_of_each_class_by_chance(tmp_path: Path) -> None:
    record(tmp_path / "cup" / "a.npz", 2.1)  # 21 windows
    record(tmp_path / "phone" / "a.npz", 0.3)
    found = plan(tmp_path, shots=3, window_ms=100)
    assert [len(begins(found, label)) for label in (0, 1)] == [3, 3]
    assert begins(found, 0) == sorted(set(begins(found, 0)))
    assert found == plan(tmp_path, shots=3, window_ms=100)
    assert len({tuple(begins(plan(tmp_path, shots=3, seed=seed, window_ms=100), 0)) for seed in range(8)}) > 4
    refusal(lambda: plan(tmp_path, shots=4, window_ms=100), "class 'phone' has 3 examples; 4 are needed", DataError)


def test_a_file_is_a_piece_and_a_broken_one_is_named(tmp_path: Path) -> None:
    first, second = record(tmp_path / "a.npz", 0.5), record(tmp_path / "b.npz", 0.5)
    whole = ExamplePlan(("x", "y"), (Item(first, 1, begin_us=77), Item(second, 0)), SENSOR, 64, 4, 1000, {})
    assert [(one.label, one.piece, len(one.events)) for one in read_examples(whole)] == [
        ("y", str(first), 1000), ("x", str(second), 1000),
    ]  # fmt: skip
    windows = tuple(Item(first, 0, begin_us=begin, length_us=100_000) for begin in (0, 300_000))
    parts = read_examples(replace(whole, items=windows))
    assert [(one.piece, len(one.events)) for one in parts] == [(str(first), 200)] * 2
    first.write_bytes(b"PK\3\4")
    refusal(lambda: list(read_examples(whole)), r"a\.npz", DataError)


def test_where_sessions_hold_every_class_a_session_is_a_piece(tmp_path: Path) -> None:
    for day in ("monday", "sunday"):
        for label in ("cup", "phone"):
            record(tmp_path / day / label / "1.npz", 1.0)
    found = plan(tmp_path, window_ms=250)
    assert {one.piece for one in read_examples(found)} == {"monday", "sunday"}
    alone = plan(tmp_path / "monday", window_ms=250)
    assert {Path(one.piece).suffix for one in read_examples(alone)} == {".npz"}


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> str:
    made = tiny()
    folder = tmp_path_factory.mktemp("features") / "tiny"
    save(folder, made.network, made.card)
    return str(folder)


@pytest.fixture(autouse=True)
def _no_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikesight.training.teach.teach.copies_for", lambda _: 0)


def test_a_folder_is_learnt_whole_and_its_recordings_are_remembered(features: str, tmp_path: Path) -> None:
    data = things(tmp_path / "things", 5)
    for n in (1, 2):  # events
        t = np.arange(n) * 600_000
        write_recording(data / "cup" / f"few-{n}.npz", make_events(t, t % 20, t % 16, t % 2), SENSOR, "npz")
    told = teach(data, tmp_path / "model", features=features)
    assert told["examples"] == {"cup": 6, "phone": 5}, "one event alone is no example"
    assert (told["labels"], told["features"]) == (["cup", "phone"], features)
    assert told["window_ms"] == pytest.approx(640, abs=1)
    assert 0 <= told["show_s"] < 1000
    assert 0 <= told["learn_s"] < 1000
    _, card = load(tmp_path / "model")
    assert card.labels == ("cup", "phone")
    assert (card.training["data"], card.training["shots"], card.training["seed"]) == ("things", 0, 0)
    assert card.training["recordings"] == sorted(digest(path) for path in data.rglob("*.npz"))
    assert card.metrics["count"] == told["count"] > 0


def test_shots_are_drawn_by_their_seed(features: str, tmp_path: Path) -> None:
    cards, data = [], things(tmp_path / "things", 6)
    for seed in (0, 0, 1):
        told = teach(data, tmp_path / "model", features=features, shots=2, seed=seed)
        assert told["examples"] == {"cup": 2, "phone": 2}
        cards.append(load(tmp_path / "model")[1].training["recordings"])
    assert cards[0] == cards[1] != cards[2]


def test_a_caller_who_computes_in_float64_teaches_the_same_model(features: str, tmp_path: Path) -> None:
    ours, made, data = torch.get_default_dtype(), [], things(tmp_path / "things", 5)
    for dtype in (torch.float64, ours):
        torch.set_default_dtype(dtype)
        try:
            teach(data, tmp_path / "model", features=features)
        finally:
            torch.set_default_dtype(ours)
        made.append(load(tmp_path / "model")[0].state_dict())
    assert all(torch.equal(made[0][name], tensor) for name, tensor in made[1].items())
