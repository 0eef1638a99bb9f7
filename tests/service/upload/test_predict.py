"""An upload's answer is the one that Python and the command give."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from spikesight.encoders.events import Events, make_events
from spikesight.encoders.recordings.files import write_recording
from spikesight.encoders.sources import samples
from spikesight.model import Model, load
from spikesight.models.novelty import NOTHING
from spikesight.models.steps import rounded
from spikesight.service.api import create_app
from spikesight.service.stream.messages import EVENTS_T64, PacketDecoder
from tests.support.serving.servers import settings


@pytest.fixture(scope="module")
def model() -> Model:
    return load("nmnist")


@pytest.fixture(scope="module")
def client(model: Model) -> Iterator[TestClient]:
    with TestClient(create_app(settings(), (model.classifier,))) as client:
        yield client


def turns(names: list[str], laps: int) -> Events:
    """Samples one after another."""
    parts, begin_us = [], 0
    for name in [name for name in names for _ in range(laps)]:
        part = PacketDecoder().decode(EVENTS_T64, samples.t64_of(name), 0)
        part["t"] += begin_us - part["t"][0]
        begin_us = int(part["t"][-1]) + 2000
        parts.append(part)
    return np.concatenate(parts)


@pytest.mark.parametrize(
    ("names", "laps"), [(["digit-3"], 1), (["digit-3", "digit-7"], 4), (["digit-7", "digit-3"], 2)]
)
def test_a_recording_has_one_answer_here_and_in_python(
    client: TestClient, model: Model, tmp_path: Path, names: list[str], laps: int
) -> None:
    write_recording(tmp_path / "made.npz", turns(names, laps), (34, 34))
    answer, segments = model.predict(tmp_path / "made.npz"), model.segments(tmp_path / "made.npz")
    body = client.post("/v1/predict", files={"file": ("made.npz", (tmp_path / "made.npz").read_bytes())}).json()
    expected = answer.fields() | {"probabilities": dict(zip(model.labels, map(rounded, answer.probabilities)))}
    for name in (
        "label",
        "index",
        "probabilities",
        "known",
        "committed",
        "set",
        "step",
        "n_events",
        "spikes",
        "synops",
    ):
        told = tuple(body[name]) if name == "set" else body.get(name)
        assert told == expected[name], name
    assert [one["label"] for one in body["segments"]] == [one.label for one in segments]
    assert body["segments"][-1]["label"] == body["label"] == names[-1][-1]


@pytest.mark.parametrize("size", [(34, 34), (346, 260)])
def test_of_a_recording_of_which_no_event_is_left_nothing_is_said_at_once(
    client: TestClient, tmp_path: Path, size: tuple[int, int]
) -> None:
    write_recording(tmp_path / "one.npz", make_events([5], [0], [0], [1]), size)
    files = {"file": ("one.npz", (tmp_path / "one.npz").read_bytes())}
    assert client.post("/v1/predict", files=files).json()["label"] == NOTHING
    (step,) = client.post("/v1/encode", files=files).json()["answers"]
    assert step["label"] == NOTHING
