"""From settings to splits: the contract, what is held out, what joins, what is decoded anew, refusals."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from spikesight.encoders.dvs import DvsEncoder
from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import read_recording
from spikesight.training.config import TrainConfig
from spikesight.training.data import load, load_data, read_item
from spikesight.training.data.drawn.printed import printed
from spikesight.training.data.load import READS, count_named_read, resolve
from spikesight.training.data.sets import Frames, ImageSet, Listing, Window
from spikesight.training.run.novelty import validation_parts
from tests.support.inputs.data_sets import (
    idx,
    small_config,
    write_idx,
    write_nmnist,
)
from tests.support.models import tiny


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_nmnist(tmp_path)


@pytest.mark.parametrize(("classes", "still"), [(10, "digit"), (3, "plain")])
def test_the_contract_is_that_of_the_recordings(classes: int, still: str, tmp_path: Path) -> None:
    write_nmnist(tmp_path, classes, train=2, test=1)
    config = small_config(tmp_path, filter_us=2000, window="drawing", bin_us=31_000)
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
        return made.steps, made.bin_us, made.height, made.width, made.encoding, made.carry

    *own, carry = found(listing)
    assert own == [7, 31_000, 20, 24, "binary"]
    assert 0 < carry < 1, "a stream's membranes are never at rest"
    mine = {"steps": 3, "bin_us": 5000, "height": 8, "width": 9, "encoding": "count"}
    assert found(listing, **mine, carry=0.0) == (*mine.values(), 0.0)
    assert found(images)[1:] == (None, 10, 12, "direct", 0.0)
    assert found(images, carry=0.5, steps=9)[::5] == (9, 0.5)
    with pytest.raises(ValueError, match=r"--encoding for pixels must be one of direct, rate, .*, not 'binary'"):
        found(images, encoding="binary")


@pytest.mark.parametrize(
    ("wishes", "shortest"), [({}, 1000), ({"bin_us": 30_000}, 0), ({"encoding": "count"}, 0), ({"neuron": "plif"}, 0)]
)
def test_only_what_runs_at_any_pace_has_shorter_bins(wishes: dict[str, Any], shortest: int, root: Path) -> None:
    config = small_config(root, **{"bin_us": 31_000, **wishes})
    assert load_data(config).contract.shortest_bin_us == shortest


def test_frames_equal_the_encoder_and_labels_the_folders(root: Path) -> None:
    data = load_data(small_config(root))
    assert data.test.frames.shape == (6, 3, 2, 17, 17)
    assert data.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    encoder = DvsEncoder(SensorSize(34, 34), (17, 17), 30_000, 3, "binary")
    for item, frames in zip(data.test_items, data.test.frames):
        np.testing.assert_array_equal(frames, encoder(read_recording(item.path).events)[:, 0])


def test_cropped_recordings_are_fed_as_the_model_will_be_served(root: Path) -> None:
    data = load_data(small_config(root, crop="object", filter_us=2000, height=None, width=None))
    contract = data.contract
    assert (contract.frame, contract.filter_us, contract.shape) == ("object", 2000, (2, 32, 32))
    classifier = tiny(contract)
    for item, frames in zip(data.test_items, data.test.frames):
        fed = classifier.event_inputs(*read_item(item))
        np.testing.assert_array_equal(frames, [given.x for given in fed])
    whole = load_data(small_config(root, height=32, width=32))
    assert not np.array_equal(whole.test.frames, data.test.frames)


def write_mnist(root: Path, count: int = 12) -> None:
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 6:22, 12:16] = 255
    for split in ("train", "t10k"):
        (root / f"{split}-images-idx3-ubyte").write_bytes(idx(images))
        (root / f"{split}-labels-idx1-ubyte").write_bytes(idx((np.arange(count) % 10).astype(np.uint8)))


def test_emulated_images_join_only_the_training_set(tmp_path: Path) -> None:
    write_nmnist(tmp_path, classes=10, train=3, test=1)
    write_mnist(tmp_path)
    config = small_config(tmp_path, emulated="mnist", emulated_count=5)
    data, plain = load_data(config), load_data(replace(config, emulated=None))
    shown = {int(Path(name).stem) - 1 for name in data.split["val"]}  # recording 00001 shows image 0
    expected = [index % 10 for index in range(12) if index not in shown][:5]
    assert data.train.labels.tolist() == [*plain.train.labels, *expected]
    assert data.train.frames[-1].any()
    assert (data.recorded, len(data.val), len(data.test)) == (len(plain.train), len(plain.val), len(plain.test))
    assert len(load_data(replace(config, repeat=2)).train) == len(data.train) + data.recorded


def test_printed_digits_join_images_of_written_ones(tmp_path: Path) -> None:
    write_mnist(tmp_path, 40)
    config = TrainConfig(data="mnist", root=str(tmp_path))
    data, plain, extra = load_data(replace(config, printed=4)), load_data(config), printed(4, config.seed)
    assert np.array_equal(data.train.frames[-4:], extra.frames)
    assert data.train.labels.tolist() == [*plain.train.labels, *extra.labels]
    assert (data.contract, data.split) == (plain.contract, plain.split)


def test_digits_and_outliers_join_on_paper_before_a_webcam(tmp_path: Path) -> None:
    write_mnist(tmp_path, 60)  # ones of one form
    config = TrainConfig(data="mnist", root=str(tmp_path), cache=str(tmp_path / "cache"), outliers=9)
    data, plain = load_data(replace(config, paper_clips=20)), load_data(config)
    assert data.outliers is not None
    assert plain.outliers is not None
    stills, strange = data.train.frames[len(plain.train) :], data.outliers.frames[len(plain.outliers) :]
    assert 10 < len(stills) <= 20, "most are found"
    assert len(strange) > 0
    assert all(one.any() for one in (*stills, *strange))
    wide, high = (stills.max((0, 1, 2, axis)).nonzero()[0] for axis in (3, 4))
    assert np.ptp(wide) < np.ptp(high), "upright, as they were drawn"
    assert (data.val.frames.tolist(), data.split["val"]) == (plain.val.frames.tolist(), plain.split["val"])
    assert len(validation_parts(data)) == 1 + len(validation_parts(plain)), "lines are also those of digits on paper"
    assert np.array_equal(stills, load_data(replace(config, paper_clips=20)).train.frames[len(plain.train) :])


@pytest.mark.parametrize(
    ("classes", "settings", "says"),
    [
        (10, {"printed": 4}, "give --emulated mnist"),
        (10, {"outliers": 4}, "give --emulated mnist"),
        (10, {"paper_clips": 4}, "give --emulated mnist"),
        (2, {"emulated": "mnist"}, "ten digits"),
        (0, {"data": "mnist", "emulated": "mnist"}, "--emulated joins emulated events to recordings"),
        (0, {"data": "mnist", "crop": "object"}, "--crop object is for binary recordings"),
        (0, {"data": "fashionmnist", "printed": 4}, "--printed joins digits of fonts to grey images"),
        (0, {"data": "fashionmnist", "outliers": 4}, "--outliers join grey images"),
        (0, {"data": "fashionmnist", "paper_clips": 4}, "--paper-clips join digits on paper to grey images"),
    ],
)
def test_what_joins_something_else_is_refused(
    classes: int, settings: dict[str, Any], says: str, tmp_path: Path
) -> None:
    write_mnist(tmp_path)
    write_idx(tmp_path / "fashion-mnist")
    if classes:
        write_nmnist(tmp_path, classes=classes, train=3, test=1)
    with pytest.raises(ValueError, match=says):
        load_data(small_config(tmp_path, **{"steps": None, "bin_us": None, "height": None, "width": None, **settings}))


def test_the_moments_of_images_are_those_of_a_channel_over_some_spread_evenly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_idx(tmp_path / "fashion-mnist")
    config = TrainConfig(data="fashionmnist", root=str(tmp_path))
    data = load_data(config)
    values = data.train.frames / 255
    assert data.contract.mean == tuple(values.mean((0, 1, 3, 4)).round(4).tolist())
    assert data.contract.std == tuple(values.std((0, 1, 3, 4)).round(4).tolist())
    monkeypatch.setattr(load, "MEASURED", 2)
    few = values[[0, -1]]
    assert load_data(config).contract.mean == tuple(few.mean((0, 1, 3, 4)).round(4).tolist())


def test_a_picture_that_was_changed_is_decoded_anew(tmp_path: Path) -> None:
    """Also one of as many bytes, which is all that an uncompressed picture's size says."""
    paths = [tmp_path / "set" / "train" / str(label) / f"{n}.bmp" for label in range(2) for n in range(4)]
    config = TrainConfig(data=str(tmp_path / "set"), cache=str(tmp_path / "cache"), height=8, width=8)
    for value in (90, 250):
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.full((8, 8, 3), value, np.uint8))
            os.utime(path, ns=(value * 10**9, value * 10**9))
        assert len({path.stat().st_size for path in paths}) == 1
        assert (np.array(load_data(config).train.frames) == value).all()


def test_a_split_goes_through_a_loader(root: Path) -> None:
    data = load_data(small_config(root))
    loaded = list(DataLoader(data.train, batch_size=5))  # type: ignore[arg-type]
    assert loaded[0][0].dtype == torch.float32
    np.testing.assert_array_equal(torch.cat([x for x, _ in loaded]), data.train.frames)
    assert torch.cat([labels for _, labels in loaded]).tolist() == data.train.labels.tolist()


def test_reads_of_a_test_split_are_counted_by_set(tmp_path: Path) -> None:
    assert [count_named_read(tmp_path, "nmnist", "a model") for _ in range(3)] == [1, 2, 3]
    assert count_named_read(tmp_path, "mnist", "a model") == 1
    with (tmp_path / READS).open("a") as file:
        file.write("somebody's note\n[]\n{}\n")
    assert count_named_read(tmp_path, "nmnist", "another model") == 4
