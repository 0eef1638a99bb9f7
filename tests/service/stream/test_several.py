"""Streams that look for several things at once: over a socket as alone, in one answer to a file."""

import json
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO

import cv2
import numpy as np
import pytest

from spikesight.encoders.emulator.pixels import Emulator
from spikesight.encoders.events import Events, SensorSize, joined
from spikesight.models.classifier.inputs import InputPipeline
from spikesight.models.classifier.session import Session
from spikesight.service.client import Client, ClientError, Prediction
from tests.support.models import EVENT_CONTRACT, tiny
from tests.support.serving.servers import running
from tests.support.serving.streams import Alone, finished
from tests.support.waiting import PATIENCE_S

DRAWING = tiny(replace(EVENT_CONTRACT, window="drawing"), "drawn")
SIZE = SensorSize(160, 120)
HELLO = {"width": SIZE.width, "height": SIZE.height, "objects": 4, "logits": True, "picture": True}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with running(classifiers=(DRAWING, tiny()), max_pending=64) as port:
        yield Client(f"http://127.0.0.1:{port}", timeout_s=PATIENCE_S)


def film(frames: int = 40) -> Events:
    """Two drawings that tremble before a camera."""
    camera, parts = Emulator(SIZE), list[Events]()
    for n in range(frames):
        paper = np.full((120, 160), 210, np.uint8)
        x, y = round(3 * np.sin(n * 0.9)), round(3 * np.cos(n * 1.3))
        for strokes in ([[25, 30], [50, 30], [35, 75]], [[100, 30], [130, 45], [100, 60], [130, 75]]):
            cv2.polylines(paper, [np.add(strokes, (x, y))], False, 40, 4)
        parts.append(camera.push(paper, n * 20_000))
    return joined(parts)


NAMES = ("step", "label", "probabilities", "synops", "objects")


def heard(answers: list[Prediction]) -> list[tuple[object, ...]]:
    return [(one.steady, *(one.model_dump(mode="json", include={*NAMES})[name] for name in NAMES)) for one in answers]


def alone(events: Events) -> list[tuple[object, ...]]:
    """The same stream without a service."""
    stream = Alone(Session(DRAWING, SIZE, objects=4))
    inputs = stream.session.push(events)
    assert max(len(given.views) for given in inputs) >= 2, "both are followed"
    answers = [(answer.steady, json.loads(json.dumps(answer.prediction.fields()))) for answer in stream.step(inputs)]
    return [(steady, *(fields[name] for name in NAMES)) for steady, fields in answers]


def test_a_stream_answers_as_it_would_alone(client: Client) -> None:
    events = film()
    with client.stream(**HELLO) as stream:
        for part in np.array_split(events, 12):
            stream.send_events(part)
        assert heard(finished(stream)) == alone(events)


def test_a_stream_with_one_window_has_no_objects(client: Client) -> None:
    with client.stream(width=24, height=32, picture=True) as stream:
        stream.send_events(film(8))
        assert all(one.objects is None for one in finished(stream))


@pytest.mark.parametrize(
    ("hello", "why"),
    [
        ({"objects": 9}, "objects"),
        ({"objects": 2, "raw": True}, "not with raw"),
        ({"objects": 2, "window": (0, 0, 20)}, "fixed window"),
        ({"objects": 2, "model": "tiny"}, "all of the picture"),
    ],
)
def test_what_cannot_be_looked_for_is_refused(client: Client, hello: dict[str, object], why: str) -> None:
    with pytest.raises(ClientError, match=why), client.stream(width=96, height=80, **hello):
        pass


def test_a_recording_and_a_picture_have_objects_where_they_are_asked_for(client: Client) -> None:
    file = BytesIO()
    events = film()
    np.savez(file, t=events["t"], x=events["x"], y=events["y"], p=events["p"], width=160, height=120)
    recording, plain = (client.predict(file.getvalue(), name="film.npz", objects=n) for n in (4, 0))
    assert isinstance(recording.objects, list)
    assert plain.objects is None
    pipeline = InputPipeline(DRAWING.card, SIZE)
    assert list(pipeline.stream([events]))
    assert (plain.events_in, plain.events_kept) == (pipeline.filter.n_events, pipeline.filter.n_kept)
    picture = cv2.imencode(".png", np.full((120, 160), 200, np.uint8))[1].tobytes()
    assert client.predict(picture, objects=4).objects == []
    with pytest.raises(ClientError, match="all of the picture"):
        client.predict(picture, model="tiny", objects=4)
