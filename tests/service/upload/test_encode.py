"""POST /v1/encode: the input of every step, for people to see."""

import base64
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.image import IMAGE_ENCODERS
from spikesight.encoders.recordings.nmnist import nmnist_records
from spikesight.encoders.sample import Sample
from spikesight.encoders.sources import samples
from spikesight.service.api import create_app
from spikesight.service.http.errors import ServiceError
from spikesight.service.upload.encode import MAX_BINS, MAX_STEPS, SIDE, encode_sample, exposure, shrink
from tests.support.inputs.samples import picture
from tests.support.models import EVENT_CONTRACT, IMAGE_CONTRACT, tiny
from tests.support.serving.servers import settings


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(settings(), (tiny(), tiny(IMAGE_CONTRACT, "pixels")))) as client:
        yield client


def frames_of(body: dict) -> np.ndarray:
    shape = body["steps"], body["channels"], body["height"], body["width"]
    return np.frombuffer(base64.b64decode(body["frames"]), np.uint8).reshape(shape)


@pytest.mark.parametrize("encoding", ["dvs", *IMAGE_ENCODERS])
@pytest.mark.parametrize("model", ["tiny", "pixels"])
def test_every_code_for_every_model(client: TestClient, encoding: str, model: str) -> None:
    assert encoding in client.get("/v1/encodings").json()["encodings"]
    answer = client.post(f"/v1/encode?encoding={encoding}&steps=7&model={model}", files={"file": picture()})
    body = answer.json()
    assert answer.status_code == 200, body
    frames = frames_of(body)
    assert frames.any()
    assert max(frames.shape[2:]) <= SIDE
    if body["values"] == "spikes" and encoding != "dvs":
        assert body["n_spikes"] == frames.sum()
    contract = EVENT_CONTRACT if model == "tiny" else IMAGE_CONTRACT
    reads = encoding == ("dvs" if contract.kind == "events" else contract.encoding)
    assert ("answers" in body) == reads
    assert ("note" in body) != reads
    if reads:
        assert len(body["answers"]) == body["steps"]


def test_what_happens_inside_is_told_where_it_is_asked_for(client: TestClient) -> None:
    told = {}
    for probe in ("", "&probe=1", "&probe=1,3,2"):
        answer = client.post(f"/v1/encode?encoding=dvs&model=tiny{probe}", files={"file": picture()})
        told[probe] = answer.json()
    assert {"maps", "inside"}.isdisjoint(told[""])
    bits = sum(one["height"] * one["width"] * -(-one["channels"] // 16) * 16 for one in told["&probe=1"]["maps"])
    for body in (told["&probe=1"], told["&probe=1,3,2"]):
        assert len(body["inside"]) == body["steps"]
        assert {len(base64.b64decode(one["fired"])) * 8 for one in body["inside"]} == {bits}
        assert len(base64.b64decode(body["inside"][0]["input"])) == EVENT_CONTRACT.height * EVENT_CONTRACT.width
    assert {one["membranes"] for one in told["&probe=1"]["inside"]} == {None}
    channels = told["&probe=1"]["maps"][1]["channels"]
    assert {len(one["membranes"]) for one in told["&probe=1,3,2"]["inside"]} == {channels}
    for wrong in ("2,1", "a", "-1,0,0"):
        assert client.post(f"/v1/encode?probe={wrong}", files={"file": picture()}).status_code == 400


def test_answers_equal_those_of_predict(client: TestClient) -> None:
    encoded = client.post("/v1/encode?encoding=dvs&model=tiny", files={"file": picture()}).json()
    predicted = client.post("/v1/predict?steps=1&model=tiny", files={"file": picture()}).json()
    assert [step["probabilities"] for step in encoded["answers"]] == [s["probabilities"] for s in predicted["steps"]]


def test_recording(client: TestClient) -> None:
    events = samples.events_of(samples.listing()[0].name)
    data = nmnist_records(events).tobytes()
    body = client.post("/v1/encode", files={"file": ("zero.bin", data)}).json()
    assert frames_of(body).shape[1] == 2
    assert body["n_spikes"] > 100
    assert len(body["answers"]) == body["steps"]
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(body["exposure"]), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    assert picture.shape == (34, 34)
    busy = np.zeros((34, 34), int)
    np.add.at(busy, (events["y"], events["x"]), 1)
    assert ((picture > picture.min()) == (busy > 0)).all()
    refused = client.post("/v1/encode?encoding=rate", files={"file": ("zero.bin", data)})
    assert refused.status_code == 400
    assert "dvs" in refused.json()["error"]


@pytest.mark.parametrize(
    ("query", "upload", "status"),
    [
        ("encoding=morse", picture(), 400),
        ("steps=0", picture(), 400),
        (f"steps={MAX_STEPS + 1}", picture(), 400),
        ("model=nobody", picture(), 404),
        ("encoding=dvs", b"hello", 415),
    ],
)
def test_what_cannot_be_encoded(client: TestClient, query: str, upload: bytes, status: int) -> None:
    answer = client.post(f"/v1/encode?{query}", files={"file": upload})
    assert (answer.status_code, set(answer.json())) == (status, {"error"})


def test_an_exposure_is_brighter_where_more_came_and_flat_where_nothing_did() -> None:
    x = np.repeat([0, 1, 2, 5, -1], [1, 50, 100, 9, 9])  # the last ones are off the sensor
    events, size = make_events(np.arange(len(x)), x, np.zeros(len(x), int), x > 0), SensorSize(4, 2)
    (one, fifty, hundred, none), below = exposure(events, size)
    assert none < one < fifty == hundred, "the brightest two hundredths are alike"
    assert (below == none).all()
    assert not exposure(events[:0], size).std()


@pytest.mark.parametrize(("side", "shown"), [(SIDE, SIDE), (SIDE + 1, 32), (2 * SIDE, SIDE), (2 * SIDE + 1, 43)])
def test_large_frames_are_shown_by_cells_and_no_event_is_lost(side: int, shown: int) -> None:
    x = np.zeros((2, side, 10), np.uint8)
    x[0, -1 if side == SIDE else 2, 0] = 3
    made = shrink(x)
    assert made.shape[1] == shown
    assert (made.max(), np.count_nonzero(made)) == (3, 1)
    assert made.dtype == np.uint8


@pytest.mark.parametrize(("bins", "shown"), [(MAX_BINS, True), (MAX_BINS + 1, False)])
def test_recordings_are_shown_up_to_a_limit(bins: int, shown: bool) -> None:
    last = (bins - 1) * EVENT_CONTRACT.bin_us
    events, size = make_events([0, last], [3, 4], [5, 6], [1, 1]), SensorSize(24, 32)
    for begin in range(0, last, 500_000):  # no silence long enough for a reset
        events = np.concatenate([events, make_events([begin], [3], [5], [1])])
    sample = Sample(events=np.sort(events, order="t"), size=size)
    if shown:
        assert len(encode_sample(tiny(), sample, "dvs", 9).frames) == bins
    else:
        with pytest.raises(ServiceError, match=f"{bins} steps; this service takes at most {MAX_BINS}"):
            encode_sample(tiny(), sample, "dvs", 9)
