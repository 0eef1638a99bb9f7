"""Tonic's classes on small folders in their layouts, and data sets written by hand as Tonic's are."""

import hashlib
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock
from urllib.error import URLError

import numpy as np
import pytest
import tonic
import tonic.collation
import tonic.datasets
import tonic.slicers
import tonic.transforms
import torch

import spikesight
from spikesight.encoders import ToBins
from spikesight.encoders.binning import bin_events
from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import read_recording
from spikesight.training import Data, DataError, TrainConfig, fit
from spikesight.training.data import list_data, load_data, read_item
from spikesight.training.data.sets import Item, Listing
from spikesight.training.data.tonic_sets import list_named
from spikesight.training.network import build_network
from spikesight.training.run.fit import dry_run
from tests.support.inputs import data_sets
from tests.support.inputs.data_sets import SIDE, digit_events, small_config, write_nmnist
from tests.support.refusals import refusal


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", Mock(side_effect=URLError("no network")))


def named(data: str, root: Path, **settings: Any) -> Listing:
    return list_named(TrainConfig(data=data, root=str(root), **settings))


SETS = {
    "nmnist": ("NMNIST", ("0", "1"), 16, 6, (34, 34)),
    "dvsgesture": ("DVSGesture", ("Hand clapping", "Right hand wave"), 33, 11, (128, 128)),
    "cifar10dvs": ("CIFAR10DVS", ("airplane", "cat"), 12, 0, (128, 128)),
    "ncaltech101": ("NCALTECH101", ("BACKGROUND_Google", "accordion"), 12, 0, (240, 180)),
    "asldvs": ("ASLDVS", ("a", "b"), 18, 0, (240, 180)),
    "tonic:pokerdvs": ("POKERDVS", ("cl", "he"), 8, 8, (35, 35)),
}


@pytest.mark.parametrize("data", SETS)
def test_a_set_by_name_is_tonics_class(data: str, tmp_path: Path) -> None:
    kind, labels, train, test, sensor = SETS[data]
    getattr(data_sets, f"write_{kind.lower()}")(tmp_path / kind if kind == "NMNIST" else tmp_path)
    found = named(data, tmp_path)
    assert (found.labels[:2], len(found.train), len(found.test)) == (labels, train, test)
    assert found.sensor == SensorSize(*sensor)
    item = next(item for item in found.train if item.label == 1)
    events, size = read_item(item)
    assert size == found.sensor
    made = [digit_events(1, seed, length_us=LENGTHS.get(kind, 90_000)) for seed in range(10)]
    made = [one for one in made if np.array_equal(events["x"], columns(kind, one))]
    assert len(made) == 1, "these are the events that were written, in their order"
    t, y = made[0]["t"], made[0]["y"]
    np.testing.assert_array_equal(events["t"], t // 1000 * 1000 if kind == "DVSGesture" else t)
    np.testing.assert_array_equal(events["y"], y - y.min() if kind == "NCALTECH101" else y)
    np.testing.assert_array_equal(events["p"], made[0]["p"])
    assert any("each is one window from its first event" in note for note in found.notes)
    assert dry_run(small_config(tmp_path, data=data, steps=2, bin_us=None, height=14, width=14)) > 0, "it trains"


LENGTHS = {"DVSGesture": 1_600_000, "POKERDVS": 20_000}


def columns(kind: str, events: np.ndarray) -> np.ndarray:
    x = events["x"]
    return x - x.min() if kind == "NCALTECH101" else x


def test_what_does_not_classify_recordings_of_cameras_is_refused(tmp_path: Path) -> None:
    for kind in tonic.datasets.__all__:
        if kind not in {"DVSLip", *(name for name, *_ in SETS.values())}:
            with pytest.raises(DataError, match=rf"Tonic's {kind} does not hold recordings of an event camera"):
                named(f"tonic:{kind}", tmp_path)
    refusal(lambda: named("tonic:Mnist", tmp_path), r"Tonic has no data set 'Mnist'; it has ASLDVS, ", DataError)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("nmnist", r"NMNIST \(train\) is not in .*no network.*: fetch https://data.mendeley.*/NMNIST"),
        ("cifar10dvs", r"CIFAR10DVS \(data\) .*fetch https://figshare.*38023437 and"),
        ("tonic:POKERDVS", r"POKERDVS \(train\) .*fetch pips_train\.tar\.gz and"),
        ("tonic:DVSLip", r"DVSLip \(train\) .*fetch https://drive\.google"),
    ],
)
def test_absent_sets_say_their_source(data: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refusal(lambda: list_data(TrainConfig(data=data, root=str(tmp_path))), says, DataError)
    assert not capsys.readouterr().out, "standard output is the command's own"


def test_a_set_is_found_in_its_root_or_below_and_a_part_of_one_is_said(tmp_path: Path) -> None:
    write_nmnist(tmp_path / "nmnist", classes=3)
    found = named("nmnist", tmp_path)
    assert (found.labels, len(found.train), len(found.test)) == (("0", "1", "2"), 24, 9)
    assert named("nmnist", tmp_path / "nmnist") == found
    assert found.notes[-1] == "WARNING: 24 and 9 recordings are only a part of NMNIST"
    data_sets.write_nmnist_file(tmp_path / "nmnist" / "Test" / "9" / "0.bin", digit_events(0, 0))
    with pytest.raises(DataError, match="class '9' of the test split of nmnist is not among the training classes"):
        named("nmnist", tmp_path)
    write_nmnist(tmp_path / "one", classes=1)
    refusal(lambda: named("nmnist", tmp_path / "one"), "two classes; found 0", DataError)
    data_sets.write_dvsgesture(tmp_path)
    (tmp_path / "DVSGesture" / "ibmGestureTrain" / "notes").mkdir()
    refusal(lambda: named("dvsgesture", tmp_path), "DVSGesture is not laid out as Tonic's DVSGesture", DataError)


def test_tonic_verifies_and_unpacks_what_lies_where_it_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("Train", "Test"):
        write_nmnist(tmp_path / "made")
        archive = shutil.make_archive(str(tmp_path / part), "zip", tmp_path / "made", part)
        (tmp_path / "data" / "NMNIST").mkdir(parents=True, exist_ok=True)
        shutil.move(archive, tmp_path / "data" / "NMNIST" / f"{part.lower()}.zip")
    refusal(lambda: named("nmnist", tmp_path / "data"), "no network", DataError)  # its sum is another
    for part in ("train", "test"):
        path = tmp_path / "data" / "NMNIST" / f"{part}.zip"
        digest = hashlib.md5(path.read_bytes()).hexdigest()
        monkeypatch.setattr(tonic.datasets.NMNIST, f"{part}_md5", digest)
    assert len(named("nmnist", tmp_path / "data").train) == 16


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY broken", b"MATLAB 5.0"])
def test_damaged_files_are_named(tmp_path: Path, content: bytes) -> None:
    path = data_sets.write_dvsgesture(tmp_path) / "DVSGesture" / "ibmGestureTest" / "user00_natural" / "3.npy"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"user00_natural/3\.npy cannot be read"):
        read_item(next(item for item in named("dvsgesture", tmp_path).test if item.path == path))
    mat = data_sets.write_asldvs(tmp_path) / "ASLDVS" / "Yin1" / "a" / "a_0000.mat"
    mat.write_bytes(content)
    with pytest.raises(DataError, match=r"a/a_0000\.mat"):
        read_item(next(item for item in named("asldvs", tmp_path).train if item.path == mat))


def test_tonics_events_of_odd_files_are_our_readers(tmp_path: Path) -> None:
    write_nmnist(tmp_path)
    item = named("nmnist", tmp_path).train[0]
    events = digit_events(0, 0)
    late, off = events.copy(), events.copy()
    late["t"][10:20] = late["t"][5]  # steps back in time
    off["x"][7] = 40
    for given in (events, late):
        data_sets.write_nmnist_file(item.path, given)
        np.testing.assert_array_equal(read_item(item)[0], read_recording(item.path).events)
    data_sets.write_nmnist_file(item.path, off)
    np.testing.assert_array_equal(read_item(item)[0], np.delete(events, 7), "those on the sensor")


def test_a_user_is_in_one_part_and_the_published_test_is_the_test(tmp_path: Path) -> None:
    data_sets.write_dvsgesture(tmp_path)
    data = load_data(small_config(tmp_path, data="dvsgesture", val_fraction=0.34))
    users = {part: {name.split("_")[0] for name in data.split[part]} for part in ("train", "val", "test")}
    assert users["test"] == {"user00"}
    assert all(item.path.parts[-3] == "ibmGestureTest" for item in data.test_items)
    assert (len(users["val"]), len(users["train"])) == (1, 2)
    assert not users["val"] & users["train"]
    assert data.split["official_test"]


class Blobs:
    """A data set of one's own as Tonic's are: `count` recordings of two classes."""

    sensor_size = (SIDE, SIDE, 2)
    classes: Any = ("left", "right")

    def __init__(self, count: int = 20, transform: Any = None, first: int = 0) -> None:
        self.count, self.transform, self.first = count, transform, first

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if index >= self.count:
            raise IndexError
        events = digit_events(index % 2, self.first + index)[["x", "y", "t", "p"]].astype(tonic.io.events_struct)
        return (events if self.transform is None else self.transform(events)), index % 2


def settings(root: Path, **options: Any) -> dict[str, Any]:
    return {"cache": str(root / "cache"), "network": "event-small", "epochs": 1, "device": "cpu", **options}


def test_a_set_of_twenty_recordings_with_tonics_transform_trains_and_is_served(tmp_path: Path) -> None:
    steps = [tonic.transforms.Denoise(filter_time=20_000), tonic.transforms.DropEvent(p=0.1)]
    given, options = Blobs(20, tonic.transforms.Compose(steps)), settings(tmp_path, epoch_steps=15, lr=0.01)
    metrics = fit(given, tmp_path / "run", test=Blobs(8, first=100), **options)
    assert metrics["test"]["count"] == 8
    assert metrics["test"]["correct"] >= 7
    model = spikesight.load(tmp_path / "run" / "model")
    answers = [model.predict(digit_events(label, 200), size=(SIDE, SIDE)).label for label in (0, 1)]
    assert answers == ["left", "right"]


def frames_of(events: np.ndarray, bin_us: int = 30_000, steps: int = 3) -> np.ndarray:
    return bin_events(events, int(events["t"][0]), bin_us, steps, SensorSize(SIDE, SIDE), mode="count")


def test_frames_are_events_at_their_bins_beginnings(tmp_path: Path) -> None:
    by_us, by_tonic = (
        Data.of(Blobs(20, transform), **settings(tmp_path, encoding="count"))
        for transform in (
            ToBins(Blobs.sensor_size, 30_000, 3, mode="count"),
            tonic.transforms.ToFrame(Blobs.sensor_size, time_window=30_000, include_incomplete=True),
        )
    )
    for data in (by_us, by_tonic):
        assert (data.contract.bin_us, data.contract.shape) == (30_000, (2, SIDE, SIDE))
        rows = {name: n for n, name in enumerate(data.split["train"])}
        name, row = next(iter(rows.items()))
        events = digit_events(("left", "right").index(name.split("/")[0]), int(name.split("/")[1]))
        np.testing.assert_array_equal(data.train.frames[row], frames_of(events))
    given = Blobs(20, ToBins(Blobs.sensor_size, 30_000, 3, mode="count"))
    wider = Data.of(given, **settings(tmp_path, encoding="count", bin_us=60_000))
    np.testing.assert_array_equal(wider.train.frames[0][0], by_us.train.frames[0][:2].sum(0), "binned again")
    small = Data.of(Blobs(20, ToBins(Blobs.sensor_size, 30_000, 3, (17, 17))), **settings(tmp_path))
    assert (small.contract.shape, small.contract.sensor_width) == ((2, 17, 17), SIDE), "a camera's events are scaled"


def test_frames_that_tell_no_length_want_one_and_other_numbers_are_refused(tmp_path: Path) -> None:
    frames = tonic.transforms.ToFrame(Blobs.sensor_size, n_time_bins=3)
    with pytest.raises(DataError, match="sample 0 of Blobs cannot be read: frames do not tell how long one is"):
        Data.of(Blobs(20, frames), **settings(tmp_path))
    assert Data.of(Blobs(20, frames), **settings(tmp_path, bin_us=30_000)).contract.steps == 3
    for transform, says in [
        (lambda events: frames(events) / 3, "frames hold counts of events"),
        (lambda events: -frames(events), "frames hold counts of events"),
        (lambda events: frames(events)[:, :1], r"frames \[T, 2, H, W\], not int16 \(3, 1, 34, 34\)"),
        (lambda events: events[["x", "t", "p"]], "events need one field y"),
        (lambda _: 1 / 0, "division by zero"),
    ]:
        with pytest.raises(DataError, match=says):
            Data.of(Blobs(20, transform), **settings(tmp_path, bin_us=30_000))


def test_random_transforms_draw_the_same_again_and_leave_others_random_numbers_alone(tmp_path: Path) -> None:
    given = Blobs(20, tonic.transforms.DropEvent(p=(0.2, 0.6)))
    np.random.seed(3)
    expected = np.random.random()
    np.random.seed(3)
    one = Data.of(given, **settings(tmp_path))
    assert np.random.random() == expected
    other = Data.of(given, **settings(tmp_path / "elsewhere"))
    np.testing.assert_array_equal(one.train.frames, other.train.frames)


def labelled(dataset: Any, label: Callable[[int], Any]) -> Any:
    """By other labels, in Tonic's own wrapper."""
    return tonic.MemoryCachedDataset(dataset, target_transform=label)


@pytest.mark.parametrize(
    ("classes", "label", "labels"),
    [
        (None, int, ("0", "1")),
        (None, np.int64, ("0", "1")),
        (None, torch.tensor, ("0", "1")),
        (None, lambda n: f"class {n}", ("class 0", "class 1")),
        (None, lambda n: (10, 9)[n], ("9", "10")),
        ({"off": 0, "on": 1}, int, ("off", "on")),
        (["on", "off", "never"], lambda n: ("off", "on")[n], ("on", "off")),
        (["0 - zero", "1 - one"], int, ("0", "1")),
    ],
)
def test_kinds_of_labels(classes: Any, label: Callable[[int], Any], labels: tuple[str, ...], tmp_path: Path) -> None:
    given = Blobs(8)
    given.classes = classes
    data = Data.of(labelled(given, label), **settings(tmp_path))
    assert data.labels == labels


def test_what_is_no_label_or_tells_no_sensor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a label is a class's number or name, not dict"):
        Data.of(labelled(Blobs(8), lambda n: {"box": n}), **settings(tmp_path))
    with pytest.raises(DataError, match="does not tell its `sensor_size`"):
        Data.of([Blobs(8)[n] for n in range(8)], **settings(tmp_path))
    with pytest.raises(DataError, match="class 'c' of the test split of MemoryCachedDataset is not among"):
        Data.of(*(labelled(Blobs(8), of.__getitem__) for of in ("ab", "ac")), **settings(tmp_path))
    refusal(lambda: fit(TrainConfig(), tmp_path / "run", test=Blobs(8)), "fit takes a test set beside a data set")


def test_sets_in_tonics_cache_and_its_slices(tmp_path: Path) -> None:
    plain = Data.of(Blobs(20), **settings(tmp_path))
    on_disk = tonic.DiskCachedDataset(cast(Any, Blobs(20)), cache_path=str(tmp_path / "disk"))
    cached = Data.of(on_disk, **settings(tmp_path))
    np.testing.assert_array_equal(cached.train.frames, plain.train.frames)
    assert cached.labels == plain.labels
    sliced = tonic.SlicedDataset(cast(Any, Blobs(12)), cast(Any, tonic.slicers.SliceByTime(30_000)))
    for given in (sliced, tonic.MemoryCachedDataset(cast(Any, sliced))):
        data = Data.of(given, **settings(tmp_path))
        assert len(data.train) + len(data.val) + len(data.test) == len(given)
        parts = [{item.group for item in of} for of in (data.train_items, data.val_items, data.test_items)]
        assert all(parts)
        assert not any(one & other for one, other in product(parts, parts) if one is not other), "slices stay together"


def test_what_changes_is_read_anew(tmp_path: Path) -> None:
    one, other = (Data.of(Blobs(20, first=first), **settings(tmp_path)) for first in (0, 50))
    assert not np.array_equal(one.train.frames, other.train.frames)


def test_transforms_are_named_in_settings(tmp_path: Path) -> None:
    write_nmnist(tmp_path)
    config = small_config(tmp_path, steps=None, bin_us=None, height=None, width=None)
    plain = load_data(config)
    few = load_data(replace(config, transform="Denoise(filter_time=1000), DropEvent(p=0.5)"))
    assert few.contract == plain.contract, "the set's own window"
    assert few.train.frames.sum() < 0.6 * plain.train.frames.sum()
    framed = load_data(replace(config, transform="ToFrame(time_window=20000)"))
    assert (framed.contract.bin_us, framed.contract.shape) == (20_000, (2, SIDE, SIDE))
    for text in ("Nothing(1)", "Denoise", "Denoise(", "DropEvent(p=open('x'))", "Denoise(1, 2, 3)"):
        with pytest.raises(DataError, match="is no list of Tonic's transforms, such as Denoise"):
            load_data(replace(config, transform=text))
    with pytest.raises(ValueError, match="--transform is for Tonic's data sets"):
        load_data(replace(config, data=str(tmp_path), transform="Denoise(1)"))


def test_our_bins_are_tonics_transform_in_a_loop_of_torchs() -> None:
    """Padded to the longest by Tonic, they pass through a network."""
    whole = ToBins(Blobs.sensor_size, 10_000)
    given = Blobs(6, lambda events: whole(events[: 300 - 40 * (len(events) % 7)]))
    batch = torch.utils.data.DataLoader(given, batch_size=6, collate_fn=tonic.collation.PadTensors(batch_first=False))  # type: ignore[arg-type]
    ((x_seq, labels),) = batch
    assert x_seq.shape[1:] == (6, 2, SIDE, SIDE)
    logits, _ = build_network(TrainConfig(network="event-small"), 2, channels=2)(x_seq.float(), {})
    assert logits.shape == (len(x_seq), 6, 2)
    assert labels.tolist() == [0, 1] * 3
    events = digit_events(0, 0)
    np.testing.assert_array_equal(ToBins(Blobs.sensor_size[:2], 30_000, 3, mode="count")(events), frames_of(events))
    assert ToBins(Blobs.sensor_size, 30_000, 3)(events[:0]).sum() == 0
    refusal(lambda: ToBins((34, 20, 2), 30_000)(events), "outside the 34x20 sensor")


def test_tonic_is_imported_when_a_set_is_named_and_not_before() -> None:
    program = "import sys, spikesight, spikesight.training.data, spikesight.app.cli; print('tonic' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).split() == ["False"]


def test_without_tonic_a_sentence_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tonic.datasets", None)
    with pytest.raises(DataError, match=r"--data nmnist needs Tonic: pip install 'spikesight\[datasets\]', then pip"):
        named("nmnist", tmp_path)


def test_items_of_another_data_set_are_read_by_it() -> None:
    events = digit_events(0, 0)
    assert read_item(Item(Path("a/0"), 0, read=lambda: (events, SensorSize(SIDE, SIDE))))[0] is events
    with pytest.raises(DataError, match="a/0 holds no events"):
        read_item(Item(Path("a/0"), 0, read=lambda: (events[:0], SensorSize(SIDE, SIDE))))


def test_the_real_n_mnist_is_read_as_by_our_reader(shared_data: Callable[[str], Path]) -> None:
    found = named("nmnist", shared_data("nmnist").parent)
    assert (len(found.train), len(found.test), found.labels) == (800, 100, tuple("0123456789"))
    for item in found.train[::40]:
        assert item.path.parent.name == found.labels[item.label]
        np.testing.assert_array_equal(read_item(item)[0], read_recording(item.path).events)
