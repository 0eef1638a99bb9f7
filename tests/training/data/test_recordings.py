"""Public sets of recordings in the layouts in which Tonic unpacks them, on small generated files."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spikesight.encoders.events import SensorSize
from spikesight.training.data import DataError, list_nmnist, load_data, read_item
from spikesight.training.data.recordings import (
    list_asldvs,
    list_cifar10dvs,
    list_dvsgesture,
    list_ncaltech101,
)
from spikesight.training.data.sets import Item
from tests.support.inputs.data_sets import (
    digit_events,
    small_config,
    write_asldvs,
    write_dvsgesture,
    write_ncaltech101,
    write_nmnist,
    write_nmnist_file,
)


def test_dvsgesture(tmp_path: Path) -> None:
    listing = list_dvsgesture(write_dvsgesture(tmp_path))
    assert (len(listing.labels), len(listing.train), len(listing.test)) == (11, 33, 11)
    events, _ = read_item(listing.train[4])
    expected = digit_events(listing.train[4].label % 3, 0, length_us=1_600_000)
    np.testing.assert_array_equal(events["t"], expected["t"] // 1000 * 1000)
    (tmp_path / "DVSGesture" / "ibmGestureTest" / "user00_natural" / "11.npy").touch()
    with pytest.raises(DataError, match=r"user00_natural/11\.npy: gestures are named"):
        list_dvsgesture(tmp_path)


def test_columns_of_a_gesture_are_x_y_polarity_and_milliseconds(tmp_path: Path) -> None:
    path, item = tmp_path / "0.npy", Item(tmp_path / "0.npy", 0, "gesture")
    rows = [[3, 70, 1, 0.0], [127, 0, 0, 0.5], [128, 4, 1, 1.0], [5, 128, 1, 2.0], [0, 127, 0, 3.0004]]
    np.save(path, np.array(rows))
    events, sensor = read_item(item)
    assert sensor == SensorSize(128, 128)
    assert events.tolist() == [(0, 3, 70, True), (500, 127, 0, False), (3000, 0, 127, False)], "those on the sensor"
    for wrong in (np.array(rows)[:, :3], np.zeros((2, 5)), np.zeros(4)):
        np.save(path, wrong)
        with pytest.raises(DataError, match=r"an array \[events, 4\] is needed"):
            read_item(item)


def test_ncaltech101(tmp_path: Path) -> None:
    listing = list_ncaltech101(write_ncaltech101(tmp_path))
    assert listing.labels == ("BACKGROUND_Google", "accordion")
    assert len(listing.train) == 12
    assert not listing.test
    np.testing.assert_array_equal(read_item(listing.train[7])[0], digit_events(1, 2))


def test_asldvs_counts_rows_from_the_top(tmp_path: Path) -> None:
    listing = list_asldvs(write_asldvs(tmp_path))
    assert listing.labels == ("a", "b", "c")
    assert len(listing.train) == 18
    item = next(i for i in listing.train if i.path.name == "b_0003.mat")
    assert item.label == 1
    np.testing.assert_array_equal(read_item(item)[0], digit_events(1, 3))


def test_cifar10dvs(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    real = shared_data("recordings/davis346.aedat4")
    for name in ("airplane", "cat"):
        for number in range(3):
            path = tmp_path / "CIFAR10DVS" / name / f"cifar10_{name}_{number}.aedat4"
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(real, path)
    listing = list_cifar10dvs(tmp_path)
    assert listing.labels == ("airplane", "cat")
    assert [i.label for i in listing.train] == [0, 0, 0, 1, 1, 1]
    config = replace(small_config(tmp_path), data="cifar10dvs", steps=None, bin_us=None, height=None, width=None)
    data = load_data(config)
    assert data.train.frames.shape[1:] == (10, 2, 48, 48)
    assert data.train.frames[0].any()


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY broken", b"MATLAB 5.0"])
def test_damaged_files_are_named(tmp_path: Path, content: bytes) -> None:
    path = write_dvsgesture(tmp_path) / "DVSGesture" / "ibmGestureTest" / "user00_natural" / "3.npy"
    path.write_bytes(content)
    item = next(i for i in list_dvsgesture(tmp_path).test if i.path == path)
    with pytest.raises(DataError, match=r"user00_natural/3\.npy cannot be read"):
        read_item(item)
    mat = write_asldvs(tmp_path) / "ASLDVS" / "Yin1" / "a" / "a_0000.mat"
    mat.write_bytes(content)
    with pytest.raises(DataError, match=r"a/a_0000\.mat"):
        read_item(next(i for i in list_asldvs(tmp_path).train if i.path == mat))


def test_nmnist_is_found_in_its_root_or_below_and_has_its_own_test(tmp_path: Path) -> None:
    write_nmnist(tmp_path / "nmnist", classes=3)
    listing = list_nmnist(tmp_path)
    assert (listing.labels, len(listing.train), len(listing.test)) == (("0", "1", "2"), 24, 9)
    assert list_nmnist(tmp_path / "nmnist") == listing
    write_nmnist_file(tmp_path / "nmnist" / "Test" / "9" / "0.bin", digit_events(0, 0))
    with pytest.raises(DataError, match="class '9' of Test is not among the training classes"):
        list_nmnist(tmp_path)
    write_nmnist(tmp_path / "one", classes=1)
    with pytest.raises(DataError, match="two class folders"):
        list_nmnist(tmp_path / "one")
