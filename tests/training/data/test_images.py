"""Sets of still images: every layout on small generated files, and the inputs that training makes of them."""

import gzip
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from spikesight.encoders.recordings.files import digest
from spikesight.models.classifier import Classifier
from spikesight.training.config import TrainConfig
from spikesight.training.data import DataError, images, load_data
from spikesight.training.data.images import load_images, pictures_below
from spikesight.training.run.loop import Run
from spikesight.training.step.batches import evaluation_input, training_input
from tests.support.inputs import data_sets
from tests.support.inputs.data_sets import idx, small_config, write_idx, write_pictures


def image_config(root: Path, data: str, **changes: object) -> TrainConfig:
    options = {"data": data, **dict.fromkeys(("steps", "bin_us", "height", "width")), **changes}
    return replace(small_config(root), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "place", "still"),
    [
        ("mnist", "", "digit"), ("mnist", "mnist", "digit"), ("mnist", "MNIST/raw", "digit"),
        ("fashionmnist", "fashion-mnist", "plain"), ("fashionmnist", "FashionMNIST/raw", "plain"),
        ("fashionmnist", "", "plain"),
    ],
)  # fmt: skip
def test_idx_files_wherever_they_were_unpacked(tmp_path: Path, name: str, place: str, still: str) -> None:
    write_idx(tmp_path / place, zipped=place != "mnist")
    data = load_data(image_config(tmp_path, name))
    assert data.train.frames.shape[1:] == (1, 1, 28, 28)
    assert (data.contract.kind, data.contract.encoding, data.contract.still) == ("image", "direct", still)
    assert (len(data.train) + len(data.val), len(data.test)) == (24, 6)
    assert sorted(data.split["val"]) == data.split["val"]
    assert data.split["train"] == f"the other {len(data.train)} training images"
    assert data.split["test"] == "all 6 of the set's own"


def test_an_idx_file_that_is_none_is_told(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    packed = gzip.compress(idx(array))
    for name, content, says in (
        ("a", idx(array), ""), ("b.gz", packed, ""), ("c", idx(array)[:-3], "cut short"),
        ("d", b"PK\x03\x04", "not an IDX"), ("e.gz", packed[:12] + b"\xff" * 4 + packed[16:], "cut short or not gzip"),
    ):  # fmt: skip
        path = tmp_path / name
        path.write_bytes(content)
        if says:
            with pytest.raises(DataError, match=says):
                images.read_idx(path)
        else:
            np.testing.assert_array_equal(images.read_idx(path), array)


def test_cifar_as_it_was_published_and_as_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_sets.take_any_cifar(monkeypatch)
    data_sets.write_cifar10(tmp_path)
    data_sets.write_cifar100(tmp_path)
    plain = load_data(image_config(tmp_path, "cifar10"))
    assert (len(plain.train) + len(plain.val), len(plain.test), plain.labels) == (30, 6, ("a", "b", "c"))
    assert plain.train.frames.shape[1:] == (1, 3, 32, 32)
    first = plain.train.frames[0, 0, :, 0, 0]
    assert first[0] < first[1] == first[2]  # red first
    assert load_data(image_config(tmp_path, "cifar100")).labels == ("thing 0", "thing 1", "thing 2", "thing 3")
    write_pictures(tmp_path / "cifar10", splits=("train", "test"))
    pictures = load_data(image_config(tmp_path, "cifar10"))
    assert (pictures.split["data"], pictures.labels) == ("cifar10-pictures", ("n01", "n02"))
    assert pictures.train.frames.shape[1:] == (1, 3, 32, 32)


@pytest.mark.parametrize("content", [b"cos\nsystem\n(S'touch pwned'\ntR.", None])
def test_a_damaged_download_is_refused(content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data_sets.write_cifar10(tmp_path)
    path = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(content) if content else path.unlink()
    with pytest.raises(DataError, match=r"cifar-10-batches-py in .* is partial or damaged"):
        load_data(image_config(tmp_path, "cifar10"))
    assert not (tmp_path / "pwned").exists()


def test_imagenet_and_any_folder_of_pictures(tmp_path: Path) -> None:
    write_pictures(tmp_path / "imagenet")
    config = image_config(tmp_path, "imagenet", height=14, width=14)
    data = load_data(config)
    assert data.labels == ("n01", "n02")
    assert data.train.frames.shape[1:] == (1, 3, 16, 16)
    assert (data.contract.height, data.contract.width) == (14, 14)
    assert len(data.test) == 16
    folder = load_data(image_config(tmp_path, str(write_pictures(tmp_path / "mine", splits=("",)))))
    assert folder.train.frames.shape[1:] == (1, 3, 64, 64)
    assert len(folder.split["test"]) == 2
    seen = {digest(tmp_path / "mine" / name) for part in ("train", "val") for name in folder.split[part]}
    assert set(folder.digests) == seen, "by which pictures of the training are known again"


@pytest.mark.parametrize("splits", [("training", "testing"), ("train", "valid"), ("Train", "Validation")])
def test_pictures_of_each_part_lie_in_folders_of_its_usual_names(tmp_path: Path, splits: tuple[str, ...]) -> None:
    data = load_data(image_config(tmp_path, str(write_pictures(tmp_path / "mine", splits=splits))))
    assert data.labels == ("n01", "n02")
    assert (len(data.train) + len(data.val), len(data.test)) == (16, 16)
    write_pictures(tmp_path / "notes" / "valid")
    write_pictures(tmp_path / "notes" / "invalid")
    assert load_data(image_config(tmp_path, str(tmp_path / "notes"))).labels == ("invalid", "valid")


def test_many_pictures_stay_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pictures(tmp_path / "imagenet")
    config = image_config(tmp_path, "imagenet", height=16, width=16)
    kept = load_data(config)
    monkeypatch.setattr("spikesight.training.data.load.KEEP_DECODED_BYTES", 0)
    read = load_data(config)
    rows = np.array([1, 3, 5])
    np.testing.assert_array_equal(read.train.frames[rows], kept.train.frames[rows])
    np.testing.assert_array_equal(read.train.frames[2:5], kept.train.frames[2:5])
    assert not isinstance(read.train.frames, np.ndarray)
    broken = next((tmp_path / "imagenet" / "train" / "n01").iterdir())
    broken.write_bytes(b"not a picture")
    with pytest.raises(DataError, match="not a picture"):
        _ = load_data(config).train.frames[:]


@pytest.mark.parametrize("encoding", ["direct", "rate", "latency"])
def test_every_encoding_gives_steps_of_the_contract(tmp_path: Path, encoding: str) -> None:
    write_idx(tmp_path)
    data = load_data(image_config(tmp_path, "mnist", encoding=encoding, steps=5))
    stored = torch.from_numpy(np.array(data.train.frames[:6]))
    generator = torch.Generator().manual_seed(0)
    for x in (evaluation_input(stored, data.contract), training_input(stored, data.config, data.contract, generator)):
        assert (x.shape, x.dtype) == ((5, 6, 1, 28, 28), torch.float32)
        if encoding != "direct":
            assert set(x.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(evaluation_input(stored, data.contract), evaluation_input(stored, data.contract))
    assert (data.contract.mean == ()) == (encoding != "direct")


def test_pictures_of_digits_are_seen_as_they_were_learnt(tmp_path: Path) -> None:
    for digit in range(10):
        picture = np.zeros((48, 48), np.uint8)
        picture[4 : 9 + 2 * digit, 5:9] = 255  # far from the middle
        for name in ("train/{}/one.png", "train/{}/two.png", "test/{}/one.png"):
            path = tmp_path / "mine" / name.format(digit)
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), picture)
    data = load_data(image_config(tmp_path, str(tmp_path / "mine"), height=32, width=32, val_fraction=0.5))
    run = Run(data, tmp_path / "runs" / "x")
    classifier = Classifier(run.network, run.card({}))
    picture = cv2.imread(str(tmp_path / "mine/test/3/one.png"))
    assert picture is not None
    stored = torch.from_numpy(np.array(data.test.frames[3:4]))
    torch.testing.assert_close(classifier.encode_image(np.asarray(picture)), evaluation_input(stored, data.contract))


def test_a_set_by_its_name_has_its_own_scale(tmp_path: Path) -> None:
    write_idx(tmp_path)
    found = load_images("mnist", tmp_path)
    assert (len(found.train), len(found.test), len(found.mean), len(found.std)) == (24, 6, 1, 1)
    assert found.train.pixels.shape == (24, 1, 28, 28)
    with pytest.raises(DataError, match="'nowhere' is neither a folder of pictures nor one of mnist"):
        load_images("nowhere", tmp_path)


def test_a_folder_without_a_test_split_has_the_pictures_set_aside_that_no_training_sees(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "mine", 8, ("",))
    for number, path in enumerate(sorted(folder.rglob("*.JPEG"))):  # of one shade each, to be told apart
        assert cv2.imwrite(str(path), np.full((6, 5, 3), 10 * number + 20, np.uint8))
    found = load_images(str(folder), tmp_path, (3, 6, 5))
    assert (found.name, found.classes, len(found.mean), len(found.std)) == ("mine", ("n01", "n02"), 3, 3)
    config = TrainConfig(data=str(folder), cache=str(tmp_path / "cache"), height=6, width=5, network="cifar-resnet8")
    trained = load_data(config)
    shades = [sorted(part.frames[:, 0, 0, 0, 0].tolist()) for part in (trained.train, trained.val, trained.test)]
    assert shades[2] == sorted(found.test.pixels[:, 0, 0, 0].tolist())
    assert sorted(shades[0] + shades[1]) == sorted(found.train.pixels[:, 0, 0, 0].tolist())
    assert found.test.labels.tolist() == [0, 1]
    write_pictures(tmp_path / "both", 2)
    both = load_images(str(tmp_path / "both"), tmp_path)
    assert (len(both.train), len(both.test), both.train.pixels.shape[1:]) == (4, 4, (3, 32, 32))


def test_pictures_are_picked_evenly_wherever_they_lie(tmp_path: Path) -> None:
    for n in range(7):
        place = tmp_path / f"{n % 2}" / f"{n}.png"
        place.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(place), np.full((4, 4), 10 * n, np.uint8))
    (tmp_path / "words.txt").write_text("none")
    (tmp_path / ".hidden.png").write_bytes(b"")
    in_order = [0, 20, 40, 60, 10, 30, 50]
    for count, expected in ((7, in_order), (9, in_order), (3, [0, 40, 10])):
        assert pictures_below(tmp_path, count, (1, 4, 4))[:, 0, 0, 0].tolist() == expected
    with pytest.raises(DataError, match="no pictures in"):
        pictures_below(tmp_path / "none", 3, (1, 4, 4))
