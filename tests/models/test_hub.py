"""Models on the Hub and shipped, and one rule for a model's name."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import create_autospec

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import CommitOperationAdd, HfApi

import spikesight
from spikesight.app.commands.models import describe_shipped as describe
from spikesight.model import Model
from spikesight.models.checkpoint import CONFIG, WEIGHTS, save
from spikesight.models.classifier import Classifier
from spikesight.models.contract import Card, CheckpointError
from spikesight.models.shipped import find, names, why_unfit
from spikesight.training.data.images import read_idx
from tests.support.models import EVENT_CONTRACT, LABELS, tiny
from tests.support.refusals import refusal


class Hub:
    """What was put on a Hub, by calls that have its client's own signatures; `cache` is laid out as the client's."""

    def __init__(self, cache: Path) -> None:
        self.cache, self.repositories = cache, dict[str, list[tuple[str, dict[str, bytes]]]]()
        self.client = create_autospec(HfApi, instance=True)
        self.client.create_commit.side_effect = self.create_commit

    def commit(self, repository: str, files: dict[str, bytes]) -> str:
        commits = self.repositories.setdefault(repository, [])
        commits.append((f"{len(commits):040}", {**(commits[-1][1] if commits else {}), **files}))
        return commits[-1][0]

    def create_commit(self, repository: str, added: list[CommitOperationAdd], **_: str) -> Any:
        given = {one.path_in_repo: one.path_or_fileobj for one in added}
        files = {name: one if isinstance(one, bytes) else Path(str(one)).read_bytes() for name, one in given.items()}
        return SimpleNamespace(oid=self.commit(repository, files))

    def download(self, repository: str, revision: str | None, allow_patterns: list[str]) -> str:
        found = [files for oid, files in self.repositories.get(repository, []) if revision in (None, oid)]
        if not found:
            raise OSError(f"404: {repository} is not there. Ask somebody.\nOr somebody else.")
        folder = self.cache / f"models--{repository.replace('/', '--')}" / "snapshots" / (revision or "main")
        folder.mkdir(parents=True, exist_ok=True)
        for name in set(allow_patterns) & set(found[-1]):
            (folder / name).write_bytes(found[-1][name])
        return str(folder)


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub(tmp_path / "cache")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub.client)
    fetched = create_autospec(huggingface_hub.snapshot_download, side_effect=hub.download)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    return hub


def test_a_model_goes_there_and_back(there: Hub) -> None:
    address = spikesight.push_to_hub("nmnist", "me/digits", private=True)
    ((revision, files),) = there.repositories["me/digits"]
    there.client.create_repo.assert_called_once_with("me/digits", private=True, exist_ok=True)
    assert address == f"hf://me/digits@{revision}"
    assert files[WEIGHTS] == (find("nmnist") / WEIGHTS).read_bytes()
    assert files["README.md"] == (find("nmnist") / "README.md").read_bytes()
    there.commit("me/digits", {"evil.py": b"raise SystemExit", "extra.safetensors": b"1" * 100})
    model = spikesight.load("hf://me/digits")
    assert [answer.label for answer in model.stream("digit-3")][-1] == "3"
    assert model.name == "digits"
    assert names([find(address)]) == ["digits"]
    assert {path.name for path in there.cache.glob("*/snapshots/main/*")} == {CONFIG, WEIGHTS}, "and nothing else"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("hf://me", "write hf://owner/name"),
        ("hf://me/../x", "write hf://owner/name"),
        ("hf://me/digits@../../x", "write hf://owner/name"),
        ("hf://me/none", "cannot be fetched"),
        ("hf://me/digits@v9", "cannot be fetched"),
    ],
)
def test_what_is_not_there_is_one_sentence(there: Hub, address: str, words: str) -> None:
    there.commit("me/digits", {CONFIG: b"{}"})
    with pytest.raises(CheckpointError, match=words) as caught:
        spikesight.load(address)
    assert "\n" not in str(caught.value)


def test_only_whole_models_go_there(there: Hub, tmp_path: Path) -> None:
    refusal(lambda: spikesight.push_to_hub("nmnist", "digits"), "write owner/name", CheckpointError)
    (tmp_path / CONFIG).write_text("{}")
    refusal(lambda: spikesight.push_to_hub(tmp_path, "me/digits"), "must have exactly", CheckpointError)
    assert not there.repositories
    save(tmp_path / "mine", tiny().network, Card(EVENT_CONTRACT, LABELS, metrics={"found": 0.5}))
    spikesight.push_to_hub(tmp_path / "mine", "me/mine")
    card = there.repositories["me/mine"][0][1]["README.md"].decode()
    assert card.startswith("---\nlibrary_name: spikesight\n")
    assert all(word in card for word in (*LABELS, '"found": 0.5', 'spikesight.load("hf://me/mine")'))


ORIGINS = {"mnist-direct": "direct", "mnist-converted": "converted", "mnist-ann": "ann"}


@pytest.fixture(scope="module", params=list(ORIGINS))
def classifier(request: pytest.FixtureRequest) -> Classifier:
    return Classifier.load(find(request.param))


def test_a_drawn_one_is_a_one(classifier: Classifier) -> None:
    paper = np.full((60, 48, 3), 250, np.uint8)
    paper[10:50, 22:27] = 15
    predictions, answer = classifier.predict_image(paper), Model(classifier).predict(paper)
    assert len(predictions) == classifier.contract.steps
    assert predictions[-1].top1 == answer.top1 == "1"
    assert answer.label in ("1", "unknown"), "a bar with sharp corners is no handwriting"


def test_real_digits(classifier: Classifier, shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("mnist")
    images = read_idx(next(folder.glob("t10k-images*")))[:100]
    labels = read_idx(next(folder.glob("t10k-labels*")))[:100]
    right = sum(classifier.predict_image(image)[-1].index == label for image, label in zip(images, labels))
    assert right >= 95


def test_what_they_cost() -> None:
    direct, converted, ann = (Classifier.load(find(name)) for name in ORIGINS)
    digit = np.zeros((28, 28), np.uint8)
    digit[4:24, 13:16] = 255
    costs = {c.origin: sum(p.synops for p in c.predict_image(digit)) for c in (direct, converted, ann)}
    assert costs["direct"] < costs["ann"] == ann.ann_macs == converted.ann_macs
    assert all(p.spikes == 0 for p in ann.predict_image(digit))
    for name in ORIGINS:
        assert (find(name) / "model.safetensors").stat().st_size <= 1_000_000


def test_a_record_of_events_that_was_never_tested(tmp_path: Path) -> None:
    save(tmp_path / "mine", tiny().network, Card(EVENT_CONTRACT, LABELS, metrics={"known": {"a": 1}}))
    found = describe(tmp_path / "mine")
    assert (found["task"], found["origin"]) == ("3 classes from events", "direct")
    assert found["input"] == "events of a 24x32 sensor as 2x16x12"
    assert (found["steps"], found["accuracy"], found["tested"]) == ("4 of 10 ms", None, None)
    assert found["known"] == {"a": 1}


@pytest.mark.parametrize("folders", [["a/x", "b/x"], ["runs/x/model", "X"], ["with space"], [".hidden"]], ids=str)
def test_a_name_that_two_share_or_no_url_can_hold_is_refused(folders: list[str]) -> None:
    refusal(lambda: names([Path(folder) for folder in folders]), "needs another name", CheckpointError)


@pytest.mark.parametrize(
    "name", [*["gestures", "0", "a.b-c_d", "teaching-3", "console", "steps", "model", "index-2"], "X" * 64]
)
def test_good_names(name: str) -> None:
    assert not why_unfit(name)


TAKEN = ["con", "nul.txt", "com1", "lpt9.a.b", "teaching-" + "0a" * 12]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "-x", "a.", "a/b", "a\\b", "a\0", "a\n", "x" * 65, "\u00e9", "\u212a", *TAKEN]
)
def test_names_that_no_model_may_have(name: str) -> None:
    assert why_unfit(name)
    assert why_unfit(name.upper()), "in no spelling"
