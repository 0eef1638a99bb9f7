"""Models on the Hub: put there and loaded again by the real client from a Hub of this machine."""

import json
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

import spikesight
from spikesight.models.checkpoint import CONFIG, WEIGHTS, read_config
from spikesight.models.contract import CheckpointError
from spikesight.models.shipped import find, names
from tests.support.serving.hub import Hub, hub


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub() as server:
        constants = huggingface_hub.constants
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # as a user may have set it for everything else
        monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
        yield server


def test_a_model_goes_there_and_back(there: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    address = spikesight.push_to_hub("nmnist", "me/digits", private=True)
    ((revision, files),) = there.repositories["me/digits"]
    assert address == f"hf://me/digits@{revision}"
    assert files[WEIGHTS] == (find("nmnist") / WEIGHTS).read_bytes()
    card = files["README.md"].decode()
    assert card.startswith("---\nlibrary_name: spikesight\n")
    assert "event-camera" in card
    metrics = read_config(find("nmnist"))[2].metrics
    assert all(f"| {name}" in card for name, measured in metrics.items() if measured is not None)
    there.commit("me/digits", {"evil.py": b"raise SystemExit", "extra.safetensors": b"1" * 100})
    model = spikesight.load("hf://me/digits")
    assert [answer.label for answer in model.stream("digit-3")][-1] == "3"
    assert model.name == "digits"
    assert names([find(address)]) == ["digits"]
    assert {path.name for path in find("hf://me/digits").iterdir()} == {CONFIG, WEIGHTS}
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    asked = len(there.asked)
    assert spikesight.load(address).labels == model.labels
    assert len(there.asked) == asked, "from the cache"
    with pytest.raises(CheckpointError, match="hf://me/other cannot be fetched"):
        spikesight.load("hf://me/other")


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


def test_weights_are_those_of_the_hash_in_the_configuration(there: Hub) -> None:
    config, weights = ((find("nmnist") / name).read_bytes() for name in (CONFIG, WEIGHTS))
    there.commit("me/changed", {CONFIG: config, WEIGHTS: weights[:-4] + bytes(4)})
    with pytest.raises(CheckpointError, match="its SHA-256 differs"):
        spikesight.load("hf://me/changed")
    document = json.loads(config)
    del document["sha256"]
    there.commit("me/unsigned", {CONFIG: json.dumps(document).encode(), WEIGHTS: weights})
    with pytest.raises(CheckpointError, match="does not say the SHA-256"):
        spikesight.load("hf://me/unsigned")
    there.commit("me/half", {WEIGHTS: weights})
    with pytest.raises(CheckpointError, match="no config"):
        spikesight.load("hf://me/half")


def test_only_whole_models_go_there(there: Hub, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="write owner/name"):
        spikesight.push_to_hub("nmnist", "digits")
    (tmp_path / CONFIG).write_text("{}")
    with pytest.raises(CheckpointError, match="must have exactly"):
        spikesight.push_to_hub(tmp_path, "me/digits")
    assert there.asked == []
