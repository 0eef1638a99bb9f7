"""Uploads over HTTP: recordings of every kind, what is refused before it is decoded, and nobody held up by another."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from fastapi.testclient import TestClient

from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import read_recording, write_recording
from spikesight.service import runtime
from spikesight.service.api import create_app
from spikesight.service.http.errors import OutOfMemory, Stopped
from spikesight.service.http.shares import FairQueue
from spikesight.service.scheduler.processes import Processes
from spikesight.service.upload import decode as decoding
from spikesight.service.upload.decode import decode
from tests.support.inputs.samples import picture, some_events
from tests.support.models import tiny
from tests.support.processes import in_fresh_process
from tests.support.serving.hostile import claimed, with_scans, zeros
from tests.support.serving.http import refused
from tests.support.serving.servers import settings

SENSOR = SensorSize(34, 34)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(settings(), (tiny(),))) as client:
        yield client


def recording(folder: Path, name: str, size: SensorSize = SENSOR) -> Path:
    """Random events in a format."""
    path = folder / ("made.es" if name == "es" else "made")  # faery goes by names
    write_recording(path, some_events(size=(24, 32)), size, name)
    return path


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
    assert ("128x128" in str(body.get("warnings"))) == (name == "aedat2"), "which knows no smaller sensor"


@pytest.mark.parametrize("times", ["<f4", "<f8", ">i8", "<u4", "<i2"])
@pytest.mark.parametrize("kind", ["npy", "csv", "hdf5", "blosc"])
def test_whatever_reads_a_recording_is_there_before_no_file_can_be_opened(
    client: TestClient, tmp_path: Path, kind: str, times: str
) -> None:
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
            np.savetxt(
                path, rows, delimiter=",", header="t_us,x,y,p", comments="", fmt="%.1f" if "f" in times else "%d"
            )
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
    app = create_app(settings(deadline_s=0.5), (tiny(),))
    app.state.runtime.decoder_queue = FairQueue(0, 1)
    with TestClient(app) as client:
        for path in ("/v1/predict", "/v1/encode", "/v1/encode?encoding=phase"):
            large = picture(".png", (1024, 768))
            assert client.post(path, files={"file": large}).status_code == 504, path
            assert client.post(path, files={"file": picture()}).status_code == 200, path
        assert client.post("/v1/predict", files={"file": b"t,x,y,p\n1,2,3,1\n"}).status_code == 504
        assert client.post("/v2/models/tiny/infer", content=b" " * 100_000).status_code == 504


@pytest.mark.parametrize(("error", "sentence"), [(Stopped, str(Stopped())), (OutOfMemory, str(OutOfMemory()))])
def test_calls_that_end_through_no_fault_of_the_file_are_503(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, error: type[Exception], sentence: str
) -> None:
    async def run(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Processes, "run", run)
    sample = client.post("/v1/predict", files={"file": b"t,x,y,p\n1,2,3,1\n"})
    tensors = client.post("/v2/models/tiny/infer", content=b" " * 100_000)
    for answer in (sample, tensors):
        assert (answer.status_code, answer.json()) == (503, {"error": sentence})


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
    monkeypatch.setattr(decoding, "read_recording", lambda _: pytest.fail("it was read here"))
    data = b"t,x,y,p\n" + b"1,2,3,1\n" * 1000
    assert client.post("/v1/predict", files={"file": ("x.bin", data)}).status_code == 200


def test_large_json_is_parsed_in_a_process(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = [1, 2, *tiny().contract.shape]
    x = {"name": "x", "datatype": "FP32", "shape": shape, "data": np.zeros(shape).tolist()}
    body = json.dumps({"inputs": [x]}).encode() + b" " * 100_000
    here = "spikesight.service.protocol_v2.tensors.document_of"
    monkeypatch.setattr(here, lambda _: pytest.fail("it was parsed here"))
    assert client.post("/v2/models/tiny.steps/infer", content=body).status_code == 200
    broken = client.post("/v2/models/tiny.steps/infer", content=body + b"}")
    assert (broken.status_code, broken.json()) == (400, {"error": "the body is not JSON"})


def test_no_temporary_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = recording(tmp_path, "aedat4").read_bytes()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    monkeypatch.setattr(runtime, "Processes", Processes)  # not those that began with another folder
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
