"""Data: listings, splits, the cache, emulated images, damage."""

import gzip
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from spikesight.encoders.dvs import DvsEncoder
from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import read_recording
from spikesight.training.config import TrainConfig
from spikesight.training.data import DataError, list_data, list_nmnist, load, load_data, read_item
from spikesight.training.data.folders import read_folder
from spikesight.training.data.images import read_idx
from spikesight.training.data.load import resolve
from spikesight.training.data.printed import printed
from spikesight.training.data.sets import Frames, ImageSet, Item, Listing, Window, split_indices
from tests.support.inputs.data_sets import digit_events, small_config, write_cifar10, write_nmnist, write_nmnist_file
from tests.support.models import tiny


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_nmnist(tmp_path)


def test_nmnist_is_found_in_its_root_or_below_and_has_its_own_test(tmp_path: Path) -> None:
    write_nmnist(tmp_path / "nmnist", classes=3)
    listing = list_nmnist(tmp_path)
    assert listing.labels == ("0", "1", "2")
    assert (len(listing.train), len(listing.test)) == (24, 9)
    assert listing.sensor == SensorSize(34, 34)
    assert list_nmnist(tmp_path / "nmnist") == listing


def test_missing_data_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Train/<digit>.*[Dd]ownload"):
        list_nmnist(tmp_path)
    with pytest.raises(DataError, match="no folder"):
        read_folder(tmp_path / "nowhere")


def test_a_folder_of_classes_is_split_and_the_split_is_written(tmp_path: Path) -> None:
    for label, name in enumerate(("left", "right")):
        for number in range(12):
            write_nmnist_file(tmp_path / "set" / name / f"{number}.bin", digit_events(label, number))
    config = replace(small_config(tmp_path), data=str(tmp_path / "set"))
    data = load_data(config)
    assert data.labels == ("left", "right")
    assert not data.split["official_test"]
    parts = [set(data.split[name]) for name in ("train", "val", "test")]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]
    assert len(parts[0] | parts[1] | parts[2]) == 24
    assert load_data(config).split == data.split
    assert load_data(replace(config, seed=1)).split != data.split


@pytest.mark.parametrize(("classes", "still"), [(10, "digit"), (3, "plain")])
def test_the_contract_is_that_of_the_recordings(classes: int, still: str, tmp_path: Path) -> None:
    write_nmnist(tmp_path, classes, train=2, test=1)
    config = small_config(tmp_path, filter_us=2000, window="drawing", shortest_bin_us=1000)
    data = load_data(config)
    contract = data.contract
    assert (contract.kind, contract.channels, contract.still, contract.frame) == ("events", 2, still, "sensor")
    assert (contract.sensor_width, contract.sensor_height) == (34, 34)
    assert (contract.steps, contract.bin_us, contract.encoding) == (config.steps, config.bin_us, "binary")
    assert (contract.filter_us, contract.window, contract.shortest_bin_us) == (2000, "drawing", 1000)
    assert data.recorded == len(data.train) == classes
    assert data.split["official_test"]
    assert len(data.digests) == len(data.train) + len(data.val)
    assert [item.label for item in data.val_items] == data.val.labels.tolist()


def test_what_was_not_asked_for_is_the_sets_own_and_what_was_stays() -> None:
    window = Window(7, 31_000, 20, 24, 2000)
    listing = Listing("set", ("a", "b"), (), (), SensorSize(24, 20), window)
    images = ImageSet("pixels", ("a", "b"), Frames(np.zeros((2, 1, 3, 10, 12), np.uint8), np.zeros(2, int)), None)

    def found(of: Listing | ImageSet, **wishes: Any) -> tuple[Any, ...]:
        made = resolve(TrainConfig(**wishes), of)
        return made.steps, made.bin_us, made.shortest_bin_us, made.height, made.width, made.encoding, made.carry

    assert found(listing) == (7, 31_000, 2000, 20, 24, "binary", 0.3)
    assert found(listing, bin_us=31_000)[2] == 2000
    for wishes in ({"bin_us": 30_000}, {"encoding": "count"}, {"neuron": "plif"}):
        assert found(listing, **wishes)[2] == 0, "only what runs at any pace has shorter bins"
    mine = {"steps": 3, "bin_us": 5000, "shortest_bin_us": 1000, "height": 8, "width": 9, "encoding": "count"}
    assert found(listing, **mine, carry=0.0) == (*mine.values(), 0.0)
    assert [found(listing, carry=carry)[-1] for carry in (0.1, 1.0)] == [0.1, 1.0]
    assert found(images) == (4, 0, 0, 10, 12, "direct", 0.0)
    assert found(images, carry=0.5, steps=9)[::6] == (9, 0.5)
    with pytest.raises(ValueError, match=r"--encoding for pixels must be one of direct, rate, .*, not 'binary'"):
        found(images, encoding="binary")


def test_one_class_or_a_strange_test_class_is_refused(tmp_path: Path) -> None:
    write_nmnist(tmp_path, classes=1)
    with pytest.raises(DataError, match="two class folders"):
        list_nmnist(tmp_path)
    write_nmnist(tmp_path, classes=2)
    write_nmnist_file(tmp_path / "Test" / "9" / "0.bin", digit_events(0, 0))
    with pytest.raises(DataError, match="class '9'"):
        list_nmnist(tmp_path)


def test_frames_equal_the_encoder_and_labels_the_folders(root: Path) -> None:
    config = small_config(root)
    data = load_data(config)
    assert data.test.frames.shape == (6, 3, 2, 17, 17)
    assert data.test.frames.dtype == np.uint8
    assert data.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    encoder = DvsEncoder(SensorSize(34, 34), (17, 17), 30_000, 3, "binary")
    for item, frames in zip(data.test_items, data.test.frames):
        np.testing.assert_array_equal(frames, encoder(read_recording(item.path).events)[:, 0])


def test_cropped_recordings_are_fed_as_the_model_will_be_served(root: Path) -> None:
    config = replace(small_config(root), crop="object", filter_us=2000, height=0, width=0)
    data = load_data(config)
    contract = data.contract
    assert (contract.frame, contract.filter_us, contract.shape) == ("object", 2000, (2, 32, 32))
    classifier = tiny(contract)
    for item, frames in zip(data.test_items, data.test.frames):
        recording = read_recording(item.path)
        fed = classifier.event_inputs(recording.events, recording.size)
        np.testing.assert_array_equal(frames, [given.x for given in fed])
    whole = load_data(replace(small_config(root), height=32, width=32))
    assert not np.array_equal(whole.test.frames, data.test.frames)
    with pytest.raises(ValueError, match="crop"):
        replace(config, window="drawing")


def test_the_cache_is_used_and_follows_files_and_contract(root: Path) -> None:
    config = small_config(root)
    load_data(config)
    cached = sorted((root / "cache").glob("*.npy"))
    stamps = [p.stat().st_mtime_ns for p in cached]
    load_data(config)
    assert sorted((root / "cache").glob("*.npy")) == cached
    assert [p.stat().st_mtime_ns for p in cached] == stamps
    load_data(replace(config, bin_us=10_000))
    assert len(list((root / "cache").glob("*.npy"))) == 2 * len(cached)
    write_nmnist_file(root / "Test" / "0" / "00000.bin", digit_events(0, 77, count=50))
    before = load_data(replace(config)).test.frames[0].sum()
    assert before <= 100
    assert not list((root / "cache").glob(".*"))


@pytest.mark.parametrize("content", [b"", b"abc", b"%", bytes(7)])
def test_a_broken_recording_is_named(root: Path, content: bytes) -> None:
    (root / "Train" / "1" / "00003.bin").write_bytes(content)
    with pytest.raises(DataError, match=r"1/00003\.bin"):
        load_data(small_config(root))
    assert not list((root / "cache").glob(".*"))


@pytest.mark.parametrize("fraction", [0.01, 0.15, 0.5, 0.99])
def test_the_split_is_stratified_seeded_and_never_empties_a_class(fraction: float) -> None:
    labels = np.repeat(np.arange(4), [2, 5, 20, 100])
    rest, chosen = split_indices(labels, fraction, seed=3)
    assert sorted([*rest, *chosen]) == list(range(127))
    assert set(labels[rest]) == set(labels[chosen]) == set(range(4))
    again = split_indices(labels, fraction, seed=3)
    np.testing.assert_array_equal(chosen, again[1])
    with pytest.raises(DataError, match="at least two"):
        split_indices(np.array([0, 0, 1]), fraction, seed=0)


def idx_bytes(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def test_idx_files(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "a").write_bytes(idx_bytes(array))
    (tmp_path / "b.gz").write_bytes(gzip.compress(idx_bytes(array)))
    np.testing.assert_array_equal(read_idx(tmp_path / "a"), array)
    np.testing.assert_array_equal(read_idx(tmp_path / "b.gz"), array)
    (tmp_path / "c").write_bytes(idx_bytes(array)[:-3])
    with pytest.raises(DataError, match="cut short"):
        read_idx(tmp_path / "c")
    (tmp_path / "d").write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match="not an IDX"):
        read_idx(tmp_path / "d")
    damaged = bytearray(gzip.compress(idx_bytes(array)))
    damaged[12:16] = b"\xff" * 4
    (tmp_path / "e.gz").write_bytes(damaged)
    with pytest.raises(DataError, match="cut short or not gzip"):
        read_idx(tmp_path / "e.gz")


def write_mnist(root: Path, count: int = 12) -> None:
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 6:22, 12:16] = 255
    (root / "train-images-idx3-ubyte").write_bytes(idx_bytes(images))
    (root / "train-labels-idx1-ubyte").write_bytes(idx_bytes((np.arange(count) % 10).astype(np.uint8)))


def test_emulated_images_join_only_the_training_set(tmp_path: Path) -> None:
    write_nmnist(tmp_path, classes=10, train=3, test=1)
    write_mnist(tmp_path)
    config = replace(small_config(tmp_path), emulated="mnist", emulated_count=5)
    data, plain = load_data(config), load_data(replace(config, emulated=""))
    assert len(data.train) == len(plain.train) + 5
    assert data.recorded == len(plain.train)
    shown = {int(Path(name).stem) - 1 for name in data.split["val"]}  # recording 00001 shows image 0
    expected = [index for index in range(12) if index not in shown][:5]
    assert data.train.labels[-5:].tolist() == [index % 10 for index in expected]
    assert data.train.frames[-1].any()
    assert len(data.val) == len(plain.val)
    assert len(data.test) == len(plain.test)
    assert len(load_data(replace(config, repeat=2)).train) == len(data.train) + data.recorded


def test_what_joins_something_else_is_refused(tmp_path: Path) -> None:
    write_nmnist(tmp_path, classes=10, train=3, test=1)
    with pytest.raises(DataError, match="digits of fonts to images"):
        load_data(replace(small_config(tmp_path), printed=4))
    with pytest.raises(DataError, match="give --emulated mnist"):
        load_data(replace(small_config(tmp_path), paper_clips=4))


def test_printed_digits_join_images_of_written_ones(tmp_path: Path) -> None:
    write_mnist(tmp_path, 40)
    for part in ("images-idx3", "labels-idx1"):
        (tmp_path / f"t10k-{part}-ubyte").write_bytes((tmp_path / f"train-{part}-ubyte").read_bytes())
    config = TrainConfig(data="mnist", root=str(tmp_path))
    data, plain = load_data(replace(config, printed=4)), load_data(config)
    assert np.array_equal(data.train.frames[-4:], printed(4, config.seed).frames)
    assert data.train.labels.tolist() == [*plain.train.labels, *printed(4, config.seed).labels]
    assert (data.contract, data.split) == (plain.contract, plain.split)
    other = tmp_path / "fashion-mnist"
    other.mkdir()
    for path in tmp_path.glob("*-ubyte"):
        path.rename(other / path.name)
    with pytest.raises(DataError, match="classes 0 to 9"):
        load_data(replace(config, data="fashionmnist", printed=4))


def test_emulated_digits_need_ten_digit_classes(root: Path) -> None:
    write_mnist(root)
    with pytest.raises(DataError, match="ten digits"):
        load_data(replace(small_config(root), emulated="mnist", emulated_count=3))


def test_the_quick_reader_reads_what_the_careful_one_does(root: Path) -> None:
    for item in list_nmnist(root).train:
        assert item.reader == "nmnist"
        np.testing.assert_array_equal(read_item(item)[0], read_recording(item.path).events)
    item = list_nmnist(root).train[0]
    events = read_item(item)[0]
    late = events.copy()
    late["t"][10:20] = late["t"][5]  # steps back in time
    off = events.copy()
    off["x"][7] = 40
    for odd in (late, off):
        write_nmnist_file(item.path, odd)
        np.testing.assert_array_equal(read_item(item)[0], read_recording(item.path).events)


def test_known_names_come_before_folders(root: Path) -> None:
    assert list_data(small_config(root)).name == "nmnist"


def test_real_recordings(shared_data: Callable[[str], Path]) -> None:
    listing = list_nmnist(shared_data("nmnist"))
    assert listing.labels == tuple("0123456789")
    assert len(listing.test) == 100


def test_the_moments_of_images_are_those_of_a_channel_over_some_spread_evenly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cifar10(tmp_path)
    config = TrainConfig(data="cifar10", root=str(tmp_path))
    data = load_data(config)
    values = data.train.frames / 255
    assert data.contract.mean == tuple(values.mean((0, 1, 3, 4)).round(4).tolist())
    assert data.contract.std == tuple(values.std((0, 1, 3, 4)).round(4).tolist())
    monkeypatch.setattr(load, "MEASURED", 2)
    few = values[[0, -1]]
    assert load_data(config).contract.mean == tuple(few.mean((0, 1, 3, 4)).round(4).tolist())


def test_kept_pictures_have_the_form_of_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(load, "holds_pictures", lambda _: True)
    monkeypatch.setattr(load, "find_imagenet", lambda root: root / "found")
    none = ImageSet("none", (), Frames(np.zeros((0, 1, 1, 1, 1)), np.zeros(0, int)), None)
    monkeypatch.setattr(load, "list_pictures", lambda *given: asked.append(given) or none)
    larger = list_data(TrainConfig(data="some/mine", height=16, width=24, resize=20, channels=1))
    assert isinstance(larger, ImageSet)
    assert larger.size == (16, 24), "what the network gets"
    list_data(TrainConfig(data="mine"))
    list_data(TrainConfig(data="imagenet", root="r", resize=256))
    list_data(TrainConfig(data="mine", height=30, width=20, resize=20))
    assert asked == [
        (Path("some/mine"), "mine", 20, 30, 1), (Path("mine"), "mine", 64, 64, 3),
        (Path("r/found"), "imagenet", 256, 256, 3), (Path("mine"), "mine", 30, 20, 3),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="--resize 19 is smaller"):
        list_data(TrainConfig(data="mine", height=30, width=20, resize=19))


@pytest.mark.parametrize(
    ("settings", "copies"),
    [({}, [None]), ({"repeat": 2}, [None, None]), ({"noise_hz": 1.0}, [0]), ({"hot": 0.5, "repeat": 3}, [0, 1, 2])],
)
def test_each_copy_of_the_training_set_has_noise_of_its_own(
    settings: dict[str, Any], copies: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def bin_items(items: Any, _: object, __: Path, what: str, noise: object = None, copy: int = 0) -> Frames:
        asked.append((what, noise and copy))
        return Frames(np.zeros(len(items)), np.zeros(len(items), int))

    monkeypatch.setattr(load, "bin_items", bin_items)
    monkeypatch.setattr(load, "_digests", lambda items: tuple(item.path.name for item in items))
    items = [Item(Path(name), n % 2) for n, name in enumerate("abcdef")]
    listing = Listing(
        "set", ("x", "y"), tuple(items[:3]), (items[5],), SensorSize(9, 8), Window(3, 1000, 8, 9), tuple(items[3:5]),
        ("words",),
    )  # fmt: skip
    config = resolve(TrainConfig(**settings), listing)
    found = load._load_recordings(listing, config)
    assert asked == [*(("binning train", copy) for copy in copies), ("binning val", None), ("binning test", None)]
    assert (found.recorded, found.notes, found.digests) == (3, ("words",), tuple("abcde"))
    assert (found.test_items, found.val_items) == ((items[5],), tuple(items[3:5]))
    assert not found.split["official_test"], "the folder was divided here"
    assert (found.split["train"], found.split["data"]) == ([item.name for item in items[:3]], "set")


def test_a_picture_that_was_changed_is_decoded_anew(tmp_path: Path) -> None:
    """Also one of as many bytes, which is all that an uncompressed picture's size says."""
    for label in range(2):
        for number in range(8):
            path = tmp_path / "pictures" / "train" / str(label) / f"{number}.bmp"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.full((8, 8, 3), 10 * number, np.uint8))
    config = TrainConfig(data=str(tmp_path / "pictures"), cache=str(tmp_path / "cache"), resize=8, height=8, width=8)
    before = np.array(load_data(config).train.frames)
    paths = sorted((tmp_path / "pictures").rglob("*.bmp"))
    sizes = [path.stat().st_size for path in paths]
    for path in paths:
        stamp = path.stat().st_mtime_ns
        cv2.imwrite(str(path), np.full((8, 8, 3), 250, np.uint8))
        os.utime(path, ns=(stamp, stamp + 10**9))
    assert [path.stat().st_size for path in paths] == sizes
    after = np.array(load_data(config).train.frames)
    assert before.max() < 250
    assert (after == 250).all()
