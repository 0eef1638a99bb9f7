"""A head learnt from a folder, on a small network: what is counted, what is kept in its card."""

from pathlib import Path

import numpy as np
import pytest
import torch

from spikesight.encoders.events import make_events
from spikesight.encoders.recordings.files import digest, write_recording
from spikesight.models.checkpoint import load, save
from spikesight.training.teach.teach import teach
from tests.support.models import tiny
from tests.training.teach.test_examples import SENSOR, record


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
    data = tmp_path / "things"
    for number, label in enumerate(("cup", "phone")):
        for n in range(5):
            record(data / label / f"{n}.npz", 0.64, rate=500 + 300 * number + n)
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
    for number, label in enumerate(("cup", "phone")):
        for n in range(6):
            record(tmp_path / "things" / label / f"{n}.npz", 0.64, rate=500 + 300 * number + n)
    cards = []
    for seed in (0, 0, 1):
        told = teach(tmp_path / "things", tmp_path / "model", features=features, shots=2, seed=seed)
        assert told["examples"] == {"cup": 2, "phone": 2}
        cards.append(load(tmp_path / "model")[1].training["recordings"])
    assert cards[0] == cards[1] != cards[2]


def test_a_caller_who_computes_in_float64_teaches_the_same_model(features: str, tmp_path: Path) -> None:
    for number, label in enumerate(("cup", "phone")):
        for n in range(5):
            record(tmp_path / "things" / label / f"{n}.npz", 0.64, rate=500 + 300 * number + n)
    ours, made = torch.get_default_dtype(), []
    for dtype in (torch.float64, ours):
        torch.set_default_dtype(dtype)
        try:
            teach(tmp_path / "things", tmp_path / "model", features=features)
        finally:
            torch.set_default_dtype(ours)
        made.append(load(tmp_path / "model")[0].state_dict())
    assert all(torch.equal(made[0][name], tensor) for name, tensor in made[1].items())
