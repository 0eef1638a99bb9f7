"""The routes of /v1: samples in, answers out, and one sentence for everything that cannot be served."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from spikesight.encoders.events import SensorSize
from spikesight.models.checkpoint import save
from spikesight.service.api import create_app
from spikesight.service.upload.decode import decode_image
from tests.support.inputs.samples import picture, some_events
from tests.support.models import EVENT_CONTRACT, IMAGE_CONTRACT, LABELS, promising, tiny
from tests.support.serving.servers import settings
from tests.support.waiting import until


def nmnist_bytes(events: np.ndarray) -> bytes:
    """Five bytes an event."""
    t = events["t"].astype(np.int64)
    columns = [events["x"], events["y"], events["p"].astype(np.int64) << 7 | t >> 16, t >> 8 & 255, t & 255]
    return np.stack(columns, 1).astype(np.uint8).tobytes()


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    fine = tiny(replace(EVENT_CONTRACT, shortest_bin_us=1000), "fine")
    app = create_app(settings(max_body=300_000), (tiny(), tiny(IMAGE_CONTRACT, "pixels"), fine, promising()))
    with TestClient(app) as client:
        yield client


@pytest.mark.attack("images", "JPEG, PNG, WebP (uploads: BMP)", "200")
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
@pytest.mark.parametrize("model", ["tiny", "pixels"])
def test_image_upload(client: TestClient, suffix: str, model: str) -> None:
    answer = client.post(f"/v1/predict?model={model}", files={"file": (f"x{suffix}", picture(suffix))})
    body = answer.json()
    assert answer.status_code == 200, body
    assert body["model"] == model
    assert body["kind"] == "image"
    assert body["label"] == LABELS[body["index"]]
    assert set(body["probabilities"]) == set(LABELS)
    assert sum(body["probabilities"].values()) == pytest.approx(1)
    assert body["confidence"] == max(body["probabilities"].values())
    assert body["spikes"] > 0
    assert body["synops"] > 0
    assert "steps" not in body
    assert "logits" not in body


def test_raw_body_equals_form(client: TestClient) -> None:
    data = picture()
    form = client.post("/v1/predict?logits=1&steps=1", files={"file": ("a.png", data)}).json()
    raw = client.post("/v1/predict?logits=1&steps=1", content=data, headers={"content-type": "image/png"}).json()
    for timing in ("latency_ms", "queue_ms"):
        del form[timing], raw[timing]
    assert form == raw
    assert len(raw["steps"]) == raw["step"]
    assert len(raw["logits"]) == len(LABELS)


def test_image_answer_equals_the_classifiers_own(client: TestClient) -> None:
    classifier = tiny(IMAGE_CONTRACT, "pixels")
    data = picture()
    pixels = decode_image(data, 2**20)
    expected = classifier.predict_image(pixels)
    body = client.post("/v1/predict?model=pixels&steps=1&logits=1", files={"file": data}).json()
    assert [step["logits"] for step in body["steps"]] == [list(p.logits) for p in expected]
    assert [body["probabilities"][label] for label in LABELS] == list(expected[-1].probabilities)
    assert body["synops"] == sum(p.synops for p in expected)


def test_recording_answer_equals_the_classifiers_own(client: TestClient) -> None:
    events = some_events()
    size = SensorSize(34, 34)  # what an N-MNIST file is taken to come from
    expected = tiny().predict_events(events, size)
    body = client.post("/v1/predict?steps=1&logits=1", files={"file": ("a.bin", nmnist_bytes(events))}).json()
    assert body["kind"] == "recording"
    assert body["n_events"] == sum(p.n_events for p in expected)
    assert [step["logits"] for step in body["steps"]] == [list(p.logits) for p in expected]
    raw = client.post(
        "/v1/predict?name=a.bin&logits=1",
        content=nmnist_bytes(events),
        headers={"content-type": "application/octet-stream"},
    )
    assert raw.json()["logits"] == body["logits"]


def test_another_bin_equals_the_classifiers_own(client: TestClient) -> None:
    events, fine = some_events(), tiny(replace(EVENT_CONTRACT, shortest_bin_us=1000), "fine").at(2)
    expected = fine.predict_events(events, SensorSize(34, 34))
    upload = {"file": ("a.bin", nmnist_bytes(events))}
    body = client.post("/v1/predict?model=fine&bin_ms=2&steps=1&logits=1", files=upload).json()
    assert [step["logits"] for step in body["steps"]] == [list(p.logits) for p in expected]
    own = client.post("/v1/predict?model=fine", files=upload).json()
    assert body["step"] > 4 * own["step"]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("model=fine&bin_ms=0.5", "bin_ms must be whole milliseconds from 1 to 10 for this model"),
        ("model=fine&bin_ms=11", "bin_ms must be whole milliseconds from 1 to 10 for this model"),
        ("bin_ms=5", "bin_ms must be 10 for this model"),
        ("model=pixels&bin_ms=5", "bin_ms is for models of events; this model takes images"),
    ],
)
def test_bins_that_a_model_does_not_run_at_are_refused(client: TestClient, query: str, sentence: str) -> None:
    answer = client.post(f"/v1/predict?{query}", files={"file": ("a.bin", nmnist_bytes(some_events()))})
    assert (answer.status_code, answer.json()) == (400, {"error": sentence})


def test_early_exit_stops_when_sure(client: TestClient) -> None:
    every = client.post("/v1/predict?model=pixels&steps=1", files={"file": picture()}).json()
    first = every["steps"][0]["confidence"]
    early = client.post(f"/v1/predict?model=pixels&confidence={first - 1e-6}", files={"file": picture()}).json()
    assert (early["step"], early["early"]) == (1, True)
    assert every["step"] == IMAGE_CONTRACT.steps
    assert every["early"] is False


def test_a_commitment_stops_a_recording_at_the_rate_that_is_asked_for(client: TestClient) -> None:
    upload = {"file": ("a.bin", nmnist_bytes(some_events()))}
    every = client.post("/v1/predict?model=promising&steps=1", files=upload).json()
    first = next(step for step in every["steps"] if "committed" in step)
    assert first["set"] == [first["committed"]]
    assert every["early"] is False
    early = client.post("/v1/predict?model=promising&error_rate=0.05", files=upload).json()
    assert (early["step"], early["committed"], early["early"]) == (first["step"], first["committed"], True)
    none = client.post("/v1/predict?model=promising&error_rate=0.01", files=upload).json()
    assert "committed" not in none  # of 30 recordings nothing is known of 1 in 100
    assert none["risk"] > 0.01
    assert none["step"] == every["step"]
    assert "set" not in client.post("/v1/predict?error_rate=0.05", files=upload).json()
    assert client.post("/v1/predict?error_rate=1", files=upload).status_code == 400


NOT_IMAGES = {
    "text": b"hello, this is no image at all",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "html": b"<html><script>alert(1)</script></html>",
    "gif": b"GIF89a" + bytes(40),
    "tiff": b"II*\0" + bytes(40),
    "ico": b"\0\0\1\0" + bytes(40),
    "avif": bytes(4) + b"ftypavif" + bytes(40),
    "exr": b"v/1\1" + bytes(40),
}


@pytest.mark.attack("images", "text, SVG, HTML, GIF, TIFF, ICO, AVIF, EXR", "415")
@pytest.mark.parametrize("name", NOT_IMAGES)
def test_other_kinds_get_415(client: TestClient, name: str) -> None:
    answer = client.post("/v1/predict", files={"file": (f"x.{name}", NOT_IMAGES[name])})
    assert answer.status_code == 415
    assert list(answer.json()) == ["error"]


@pytest.mark.attack("images", "truncated", "400")
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_truncated_gets_400(client: TestClient, suffix: str) -> None:
    data = picture(suffix)
    for keep in (12, 20, 30, 60, len(data) // 2):
        answer = client.post("/v1/predict", files={"file": data[:keep]})
        assert answer.status_code in (400, 415), (keep, answer.text)
    assert client.post("/v1/predict", files={"file": data[: len(data) // 2]}).status_code == 400


@pytest.mark.attack("images", "empty", "400")
def test_empty_gets_400(client: TestClient) -> None:
    for answer in (
        client.post("/v1/predict", files={"file": ("x.png", b"")}),
        client.post("/v1/predict", content=b"", headers={"content-type": "image/png"}),
    ):
        assert answer.status_code == 400
        assert "empty" in answer.json()["error"]


def test_oversize_gets_413(client: TestClient) -> None:
    big = b"\xff\xd8\xff" + bytes(400_000)
    assert client.post("/v1/predict", files={"file": big}).status_code == 413
    assert client.post("/v1/predict", content=iter([big]), headers={"content-type": "image/png"}).status_code == 413


@pytest.mark.attack(
    "recordings", "damaged recordings", "400; decoded in processes of their own with limits on memory, time and events"
)
def test_damaged_recordings_get_400(client: TestClient) -> None:
    for name, data in {
        "a.aedat4": b"#!AER-DAT4.0\r\n" + bytes(100),
        "a.raw": b"% evt 3.0\n% end\n" + bytes(3),
        "a.bin": bytes(7),
        "b.bin": bytes(3),
    }.items():
        answer = client.post("/v1/predict", files={"file": (name, data)})
        assert answer.status_code == 400, (name, answer.text)
        assert "upload" not in answer.json()["error"] or "/" not in answer.json()["error"]


def test_recording_for_an_image_model_gets_400(client: TestClient) -> None:
    answer = client.post("/v1/predict?model=pixels", files={"file": ("a.bin", nmnist_bytes(some_events()))})
    assert answer.status_code == 400
    assert "images" in answer.json()["error"]


@pytest.mark.attack(
    "recordings", "a recording whose clock jumps for hours", "413 above the limit of steps, before any bin is made"
)
def test_too_long_a_recording_gets_413() -> None:
    with TestClient(create_app(settings(max_recording_steps=5), (tiny(),))) as client:
        answer = client.post("/v1/predict", files={"file": ("a.bin", nmnist_bytes(some_events()))})
    assert answer.status_code == 413
    assert "at most 5" in answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/predict?model=nothing", 404),
        ("/v1/predict?model=..%2f..%2fetc", 404),
        ("/v1/predict?model=%00", 404),
        ("/v1/predict?confidence=2", 400),
        ("/v1/predict?logits=perhaps", 400),
    ],
)
def test_bad_queries(client: TestClient, path: str, status: int) -> None:
    answer = client.post(path, files={"file": picture()})
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]


@pytest.mark.attack("body", "two files, missing field, wrong content type", "400 / 415")
@pytest.mark.attack("body", "file name `../../x`", "ignored")
def test_form_rules(client: TestClient) -> None:
    two = client.post("/v1/predict", files=[("file", picture()), ("file", picture())])
    missing = client.post("/v1/predict", files={"picture": picture()})
    kind = client.post("/v1/predict", content=picture(), headers={"content-type": "text/plain"})
    curl = client.post("/v1/predict", content=picture(), headers={"content-type": "application/x-www-form-urlencoded"})
    name = client.post("/v1/predict", files={"file": ("../../etc/x", picture())})
    assert [r.status_code for r in (two, missing, kind, curl, name)] == [400, 400, 415, 415, 200]


def test_models_and_samples(client: TestClient) -> None:
    body = client.get("/v1/models").json()
    assert body["default"] == "tiny"
    assert [model["name"] for model in body["models"]] == ["tiny", "pixels", "fine", "promising"]
    first = body["models"][0]
    assert first["labels"] == list(LABELS)
    assert first["contract"]["bin_us"] == EVENT_CONTRACT.bin_us
    assert first["metrics"] == {"accuracy": 0.5}
    for sample in client.get("/samples").json():
        data = client.get(f"/samples/{sample['name']}").content
        assert len(data) % 13 == 0
        assert data
    assert client.get("/samples/..%2f..%2fpyproject.toml").status_code == 404
    assert client.get("/samples/none").status_code == 404


@pytest.mark.attack("names and methods", "wrong method", "405 + Allow")
def test_health_metrics_and_methods(client: TestClient) -> None:
    assert client.get("/health/live").json() == {"live": True}
    until(lambda: client.get("/health/ready").json() == {"ready": True}, "decoders are warm")
    client.post("/v1/predict", files={"file": picture()})
    text = client.get("/metrics").text
    assert 'spikesight_requests_total{route="/v1/predict",status="200"}' in text
    assert 'spikesight_steps_total{model="tiny"}' in text
    for method, path, allowed in (
        ("GET", "/v1/predict", "POST"),
        ("POST", "/v1/models", "GET"),
        ("PUT", "/metrics", "GET"),
    ):
        answer = client.request(method, path)
        assert answer.status_code == 405
        assert answer.headers["allow"] == allowed
        assert list(answer.json()) == ["error"]
    assert client.get("/nothing").json() == {"error": "there is nothing at this path"}


def test_page_and_its_headers(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "text/html" in page.headers["content-type"]
    for name in (
        "content-security-policy",
        "x-content-type-options",
        "referrer-policy",
        "permissions-policy",
        "cross-origin-opener-policy",
    ):
        assert page.headers[name], name
    again = client.get("/", headers={"if-none-match": page.headers["etag"]})
    assert again.status_code == 304


def test_a_saved_model_is_served(tmp_path) -> None:
    made = tiny()
    save(tmp_path / "mine", made.network, made.card)
    with TestClient(create_app(settings(models=(str(tmp_path / "mine"),)))) as client:
        assert client.get("/v1/models").json()["default"] == "mine"
        assert client.post("/v1/predict", files={"file": picture()}).status_code == 200


def test_models_of_several_runs_have_the_names_of_their_runs(tmp_path: Path) -> None:
    made = tiny()
    folders = [tmp_path / "runs" / run / "model" for run in ("first", "second")]
    for folder in folders:
        save(folder, made.network, made.card)
    app = create_app(settings(models=tuple(map(str, folders))))
    with TestClient(app) as client:
        assert [model["name"] for model in client.get("/v1/models").json()["models"]] == ["first", "second"]
        assert client.post("/v1/predict?model=second", content=picture()).json()["model"] == "second"
