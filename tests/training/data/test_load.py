"""From settings to splits: the contract, what is held out, what joins, what is decoded anew, refusals."""

import os
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
from spikesight.training.data.load import resolve
from spikesight.training.data.sets import Frames, ImageSet, Listing, WindowShape
from tests.support.inputs.data_sets import small_config, write_idx, write_nmnist
from tests.support.models import tiny


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_nmnist(tmp_path)


@pytest.mark.parametrize(("classes", "still"), [(10, "digit"), (3, "plain")])
def test_the_contract_is_that_of_the_recordings(classes: int, still: str, tmp_path: Path) -> None:
    write_nmnist(tmp_path, classes, train=2, test=1)
    config = small_config(tmp_path, filter_us=2000, bin_us=31_000)
    data = load_data(config)
    contract = data.contract
    assert (contract.kind, contract.channels, contract.still, contract.frame) == ("events", 2, still, "sensor")
    assert (contract.sensor_width, contract.sensor_height) == (34, 34)
    assert (contract.steps, contract.bin_us, contract.encoding) == (config.steps, config.bin_us, "binary")
    assert (contract.filter_us, contract.task, contract.shortest_bin_us) == (2000, "classification", 1000)
    assert data.recorded == len(data.train) == classes
    assert data.split["official_test"]
    assert len(data.digests) == len(data.train) + len(data.val)
    assert [item.label for item in data.val_items] == data.val.labels.tolist()


def test_a_model_of_motions_takes_no_still_images(root: Path) -> None:
    for digit, name in enumerate(("left", "right")):
        (root / "Train" / str(digit)).rename(root / "Train" / name)
    config = small_config(root, data=str(root / "Train"), epochs=1)
    assert load_data(config).contract.still == "none"


def test_what_was_not_asked_for_is_the_sets_own_and_what_was_stays() -> None:
    window = WindowShape(7, 31_000, 20, 24, 2000)
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
    assert (data.test.frames.shape, data.test.labels.tolist()) == ((6, 3, 2, 17, 17), [0, 0, 0, 1, 1, 1])
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


def test_moments_of_images_are_a_channels_over_an_even_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
