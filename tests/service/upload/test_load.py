"""Uploads over HTTP: recordings of every kind, what is refused before it is decoded; codes for people to see."""

import base64
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import AsyncMock

import cv2
import h5py
import numpy as np
import pytest
from fastapi.testclient import TestClient

from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.image import IMAGE_ENCODERS
from spikesight.encoders.recordings.files import read_recording, write_recording
from spikesight.encoders.sources import samples
from spikesight.model import Model, load
from spikesight.models.novelty import NOTHING
from spikesight.models.steps import rounded
from spikesight.service import runtime
from spikesight.service.api import create_app
from spikesight.service.decoding import decode as decoding
from spikesight.service.decoding.decode import decode
from spikesight.service.decoding.processes import DecoderProcesses
from spikesight.service.http.errors import OutOfMemory, Stopped
from spikesight.service.http.shares import FairQueue
from spikesight.service.upload.encode import MAX_STEPS, SIDE, exposure
from tests.support.inputs.formats import nmnist_records, write
from tests.support.inputs.samples import picture, some_events, turns
from tests.support.models import EVENT_CONTRACT, IMAGE_CONTRACT, tiny
from tests.support.processes import in_fresh_process
from tests.support.serving.hostile import claimed, with_scans, zeros
from tests.support.serving.http import refused
from tests.support.serving.servers import settings

SENSOR = SensorSize(34, 34)


def recording(folder: Path, name: str, size: SensorSize = SENSOR) -> Path:
    """Random events in a format."""
    path = folder / ("made.es" if name == "es" else "made")  # faery goes by names
    return write(path, some_events(size=(24, 32)), size, name)


@pytest.mark.parametrize(
    "name", ["aedat2", "aedat4", "evt2", "evt21", "evt3", "dat", "hdf5", "npz", "csv", "es", "mcap"]
)
def test_every_format_is_told_by_its_content(client: TestClient, tmp_path: Path, name: str) -> None:
    if name == "es":
        pytest.importorskip("faery")
    path = recording(tmp_path, name)
    expected = read_recording(path)
    answer = client.post("/v1/predict?logits=1&steps=1", files={"file": ("upload", path.read_bytes())})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["kind"] == "recording"
    assert body["steps"][-1]["logits"] == list(tiny().predict_events(expected.events, expected.size)[-1].logits)


@pytest.mark.parametrize("times", ["<f4", "<f8", ">i8", "<u4", "<i2"])
@pytest.mark.parametrize("kind", ["npy", "csv", "hdf5", "blosc"])
def test_what_reads_recordings_is_there_beforehand(client: TestClient, tmp_path: Path, kind: str, times: str) -> None:
    """Loops for other kinds of numbers, filters of HDF5: nothing is imported, compiled to disk or looked up later."""
    events = some_events(size=(24, 32), span_us=30_000)
    columns = {key: events[key].astype(times if key == "t" else "<u2") for key in "txyp"}
    path = tmp_path / "made"
    match kind:
        case "npy":
            np.save(path, np.stack([events[key].astype(times) for key in "txyp"], axis=1))
            path = path.with_suffix(".npy")
        case "csv":
            rows = np.stack([columns[key].astype("<f8") for key in "txyp"], axis=1)
            form = "%.1f" if "f" in times else "%d"
            np.savetxt(path, rows, delimiter=",", header="t_us,x,y,p", comments="", fmt=form)
        case _:
            packed = {} if kind == "hdf5" else pytest.importorskip("hdf5plugin").Blosc()
            with h5py.File(path, "w") as file:
                for key, column in columns.items():
                    file.create_dataset(f"events/{key}", data=column, chunks=(100,), **packed)
    answer = client.post("/v1/predict?raw=1", files={"file": ("upload", path.read_bytes())})
    assert answer.status_code == 200, answer.text
    assert answer.json()["n_events"] == len(events)


@pytest.mark.attack("load", "all decoders busy for long", "504 for what needs one; small images go on")
def test_whatever_is_decoded_elsewhere_waits_for_its_clients_turn() -> None:
    def all_busy(deadline_s: float) -> TestClient:
        app = create_app(settings(deadline_s=deadline_s), (tiny(),))
        app.state.runtime.decoder_queue = FairQueue(0, 1)
        return TestClient(app)

    paths = "/v1/predict", "/v1/encode", "/v1/encode?encoding=latency"
    with all_busy(60) as client:
        for path in paths:
            assert client.post(path, files={"file": picture()}).status_code == 200, path
    with all_busy(0.5) as client:
        for path in paths:
            large = picture(".png", (1024, 768))
            assert client.post(path, files={"file": large}).status_code == 504, path
        assert client.post("/v1/predict", files={"file": b"t,x,y,p\n1,2,3,1\n"}).status_code == 504


@pytest.mark.parametrize("error", [Stopped(), OutOfMemory()])
def test_calls_ended_by_no_fault_are_503(client: TestClient, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(DecoderProcesses, "run", AsyncMock(side_effect=error))
    answer = client.post("/v1/predict", files={"file": b"t,x,y,p\n1,2,3,1\n"})
    assert (answer.status_code, answer.json()) == (503, {"error": str(error)})


@pytest.mark.attack("recordings", "a small recording that claims 10^9 events", "413 by its header")
@pytest.mark.parametrize("data", [claimed(10**9), zeros(decoding.MAX_EVENTS + 1000)], ids=["hdf5", "npz"])
def test_claims_of_too_many_events_are_refused_by_the_header(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "read_recording", lambda _: pytest.fail("it was read"))
    status, said = refused(decode, data, "")
    assert (status, "at most" in said) == (413, True)


@pytest.mark.attack("images", "progressive JPEG of thousands of scans", "413, scans are counted first")
def test_a_jpeg_of_many_scans_is_refused(client: TestClient) -> None:
    few, many = with_scans(64, 2), with_scans(4096, 2000)
    assert client.post("/v1/predict", files={"file": few}).status_code == 200
    answer = client.post("/v1/predict", files={"file": many})
    assert answer.status_code == 413
    assert "scans" in answer.json()["error"]


def test_no_recording_is_parsed_in_the_service(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process read comes back with its warnings: of a file that is cut short, as here, too."""
    monkeypatch.setattr(decoding, "read_recording", lambda _: pytest.fail("it was read here"))
    data = b"t,x,y,p\n" + b"1,2,3,1\n" * 1000 + b"1,2"
    assert "cut short" in client.post("/v1/predict", files={"file": ("x.bin", data)}).json()["warnings"][0]


def test_no_temporary_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = recording(tmp_path, "aedat4").read_bytes()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    monkeypatch.setattr(runtime, "DecoderProcesses", DecoderProcesses)  # not those that began with another folder
    with TestClient(create_app(settings(), (tiny(),))) as client:
        for name in ("a.aedat4", "a.bin"):
            answer = client.post("/v1/predict", files={"file": (name, data)})
            assert answer.status_code == 507
            assert "TMPDIR" in answer.json()["error"]
        assert client.post("/v1/predict", files={"file": picture()}).status_code == 200


def test_opencv_knows_its_limit_before_it_is_imported() -> None:
    head = b"P5 5000 5000 255 "
    code = f"""
import sys, spikesight.service  # which is imported before any of its modules
assert "cv2" not in sys.modules
import cv2, numpy as np
try:
    print(cv2.imdecode(np.frombuffer({head!r} + bytes(25_000_000), np.uint8), cv2.IMREAD_GRAYSCALE) is None)
except cv2.error:
    print(True)
"""
    assert in_fresh_process(code, OMP_NUM_THREADS="1").splitlines()[-1] == "True"


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
    for probe in ("", "&probe=1"):
        answer = client.post(f"/v1/encode?encoding=dvs&model=tiny{probe}", files={"file": picture()})
        told[probe] = answer.json()
    assert {"maps", "inside"}.isdisjoint(told[""])
    bits = sum(one["height"] * one["width"] * -(-one["channels"] // 16) * 16 for one in told["&probe=1"]["maps"])
    inside = told["&probe=1"]["inside"]
    assert len(inside) == told["&probe=1"]["steps"]
    assert {len(base64.b64decode(one["fired"])) * 8 for one in inside} == {bits}
    assert len(base64.b64decode(inside[0]["input"])) == EVENT_CONTRACT.height * EVENT_CONTRACT.width
    for wrong in ("2,1", "a"):
        assert client.post(f"/v1/encode?probe={wrong}", files={"file": picture()}).status_code == 400


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
    x, y = np.repeat([[0, 1, 2, 5, -1, 0, 0], [0, 0, 0, 0, 0, 2, -1]], [1, 50, 100, 9, 9, 9, 9], axis=1)
    events, size = make_events(np.arange(len(x)), x, y, x > 0), SensorSize(4, 2)  # the last ones are off the sensor
    (one, fifty, hundred, none), below = exposure(events, size)
    assert none < one < fifty == hundred, "the brightest two hundredths are alike"
    assert (below == none).all()
    assert not exposure(events[:0], size).std()


@pytest.fixture(scope="module")
def model() -> Model:
    return load("nmnist")


@pytest.fixture(scope="module")
def digit_client(model: Model) -> Iterator[TestClient]:
    with TestClient(create_app(settings(), (model.classifier,))) as digit_client:
        yield digit_client


@pytest.mark.parametrize(("digits", "laps"), [("3", 1), ("37", 4), ("73", 2)])
def test_a_recording_has_one_answer(
    digit_client: TestClient, model: Model, tmp_path: Path, digits: str, laps: int
) -> None:
    write_recording(tmp_path / "made.npz", turns([f"digit-{digit}" for digit in digits], laps), (34, 34))
    answer, segments = model.predict(tmp_path / "made.npz"), model.segments(tmp_path / "made.npz")
    body = digit_client.post("/v1/predict", files={"file": ("made.npz", (tmp_path / "made.npz").read_bytes())}).json()
    expected = answer.fields() | {"probabilities": dict(zip(model.labels, map(rounded, answer.probabilities)))}
    for name in ("label", "top1", "index", "probabilities", "in_distribution", "step", "n_events", "spikes", "synops"):
        told = body.get(name)
        assert told == expected[name], name
    assert [one["label"] for one in body["segments"]] == [one.label for one in segments]
    assert body["segments"][-1]["label"] == body["label"] == digits[-1]


@pytest.mark.parametrize("size", [(34, 34), (346, 260)])
def test_a_recording_of_no_events_is_nothing(digit_client: TestClient, tmp_path: Path, size: tuple[int, int]) -> None:
    write_recording(tmp_path / "one.npz", make_events([5], [0], [0], [1]), size)
    files = {"file": ("one.npz", (tmp_path / "one.npz").read_bytes())}
    assert digit_client.post("/v1/predict", files=files).json()["label"] == NOTHING
    (step,) = digit_client.post("/v1/encode", files=files).json()["answers"]
    assert step["label"] == NOTHING
