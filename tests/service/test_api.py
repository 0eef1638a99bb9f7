"""The routes of /v1: samples in, answers out, and one sentence for everything that cannot be served."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from spikesight.encoders.events import SensorSize
from spikesight.models.classifier import Classifier
from spikesight.models.contract import Card, Contract
from spikesight.models.steps import Prediction
from spikesight.service.api import create_app
from spikesight.service.decoding.decode import decode_image
from spikesight.service.stream.messages import Frame
from tests.support.inputs.formats import nmnist_records
from tests.support.inputs.samples import picture, some_events
from tests.support.models import EVENT_CONTRACT, IMAGE_CONTRACT, LABELS, ann, promising, tiny
from tests.support.serving.servers import settings
from tests.support.waiting import until

SIZE = SensorSize(34, 34)  # what an N-MNIST file is taken to come from
FINE = replace(EVENT_CONTRACT, shortest_bin_us=1000)


RECORDING = {"file": ("a.bin", nmnist_records(some_events()).tobytes())}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    card = tiny().card
    moves = Classifier(tiny().network, replace(card, contract=replace(card.contract, still="none")), "moves")
    models = tiny(), tiny(IMAGE_CONTRACT, "pixels"), tiny(FINE, "fine"), promising(), moves
    with TestClient(create_app(settings(max_body=300_000), models)) as client:
        yield client


def refused(answer: Any) -> tuple[int, str]:
    """A refusal's status and its sentence, which is all that it says."""
    ((name, sentence),) = answer.json().items()
    assert name == "error"
    return answer.status_code, sentence


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
@pytest.mark.parametrize("model", ["tiny", "pixels"])
def test_image_upload(client: TestClient, suffix: str, model: str) -> None:
    answer = client.post(f"/v1/predict?model={model}", files={"file": (f"x{suffix}", picture(suffix))})
    body = answer.json()
    assert answer.status_code == 200, body
    assert (body["model"], body["kind"], body["label"]) == (model, "image", LABELS[body["index"]])
    assert set(body["probabilities"]) == set(LABELS)
    assert sum(body["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert body["confidence"] == max(body["probabilities"].values())
    assert min(body["spikes"], body["synops"]) > 0
    assert not {"steps", "logits"} & set(body)


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.png", picture(), "image/png"),
        ("a.png", picture(), "image/jpg"),  # no registered type, and often sent
        ("a.bin", RECORDING["file"][1], "application/octet-stream"),
    ],
)
def test_raw_body_equals_form(client: TestClient, name: str, data: bytes, kind: str) -> None:
    form = client.post("/v1/predict?logits=1&steps=1", files={"file": (name, data)}).json()
    raw = client.post(f"/v1/predict?logits=1&steps=1&name={name}", content=data, headers={"content-type": kind}).json()
    for timing in ("latency_ms", "queue_ms"):
        del form[timing], raw[timing]
    assert form == raw
    assert (len(raw["steps"]), len(raw["logits"])) == (raw["step"], len(LABELS))


def expected(name: str) -> list[Prediction]:
    """What the classifier says by itself."""
    if name == "pixels":
        return tiny(IMAGE_CONTRACT, "pixels").predict_image(decode_image(picture(), 2**20))
    classifier = tiny() if name == "tiny" else tiny(FINE, "fine").at(2)
    return classifier.predict_events(some_events(), SIZE)


@pytest.mark.parametrize(
    ("model", "query", "files"),
    [("pixels", "", {"file": picture()}), ("tiny", "", RECORDING), ("fine", "&bin_ms=2", RECORDING)],
)
def test_answers_equal_the_classifiers_own(client: TestClient, model: str, query: str, files: dict[str, Any]) -> None:
    own = expected(model)
    body = client.post(f"/v1/predict?model={model}&steps=1&logits=1{query}", files=files).json()
    assert body["kind"] == ("image" if model == "pixels" else "recording")
    for step, p in zip(body["steps"], own, strict=True):
        assert step["logits"] == list(p.logits)
        assert step["confidence"] == max(step["probabilities"]) == pytest.approx(max(p.probabilities), abs=1e-5)
        for name in ("step", "start_us", "end_us", "top1", "index", "n_events", "spikes", "synops"):
            assert step[name] == getattr(p, name), name
    assert body["steps"][-1]["label"] == body["label"], "as if the sample ended there"
    assert [body["probabilities"][label] for label in LABELS] == pytest.approx(list(own[-1].probabilities), rel=1e-5)
    assert body["step"] == len(own)
    for name in ("synops", "spikes", "n_events"):
        assert body[name] == sum(getattr(p, name) for p in own), name


def test_an_ann_goes_wherever_a_spiking_network_goes_and_says_that_it_does_not_spike() -> None:
    contract = Contract("image", 1, 12, 12, 1, "direct", mean=(0.2,), std=(0.4,))
    relu = Classifier(ann(), Card(contract, ("a", "b", "c")), "relu")
    with TestClient(create_app(settings(), (relu,))) as client:
        body = client.post("/v1/predict?steps=1", content=picture()).json()
        assert (body["spikes"], body["synops"], len(body["steps"])) == (0, relu.ann_macs, 1)
        (told,) = client.get("/v1/models").json()["models"]
        assert (told["origin"], told["layers"]) == ("ann", [])
        with client.websocket_connect("/v1/stream") as socket:
            socket.send_text('{"type": "hello", "protocol": 1, "width": 40, "height": 30, "probe": true}')
            assert socket.receive_json()["maps"] == []
            socket.send_bytes(Frame(1, 5.0, 0, picture(".jpg")).pack())
            said = socket.receive_json()
        assert said["synops"] == relu.ann_macs
        assert "inside" not in said, "nobody could see a thing"


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("model=fine&bin_ms=11", "bin_ms must be whole milliseconds from 1 to 10 for this model"),
        ("bin_ms=5", "bin_ms must be 10 for this model"),
        ("model=pixels&bin_ms=5", "bin_ms is for models of events; this model takes images"),
        ("model=pixels", "the model pixels takes images: send one, or choose another: tiny, fine, promising, moves"),
        ("model=moves", "the model moves takes recordings: send one, or choose another: tiny, pixels, fine, promising"),
    ],
)
def test_what_a_model_does_not_take_is_refused(client: TestClient, query: str, sentence: str) -> None:
    file = {"file": ("a.png", picture())} if "moves" in query else RECORDING
    assert refused(client.post(f"/v1/predict?{query}", files=file)) == (400, sentence)


def test_a_commitment_stops_a_recording_at_the_rate_that_is_asked_for(client: TestClient) -> None:
    every = client.post("/v1/predict?model=promising&steps=1", files=RECORDING).json()
    first = next(step for step in every["steps"] if "label" in step["commitment"])
    label = first["commitment"]["label"]
    assert first["commitment"]["set"] == [label]
    assert every["early"] is False
    early = client.post("/v1/predict?model=promising&error_rate=0.05", files=RECORDING).json()
    assert (early["step"], early["commitment"]["label"], early["early"]) == (first["step"], label, True)
    none = client.post("/v1/predict?model=promising&error_rate=0.01", files=RECORDING).json()
    assert "label" not in none["commitment"]  # of 30 recordings nothing is known of 1 in 100
    assert none["commitment"]["risk"] > 0.01
    assert none["step"] == every["step"]
    assert "commitment" not in client.post("/v1/predict?error_rate=0.05", files=RECORDING).json()


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


UNREADABLE = [
    *((f"x.{kind}", data, 415) for kind, data in NOT_IMAGES.items()),
    *(
        (f"x{suffix}", picture(suffix)[: len(picture(suffix)) // 2], 400)
        for suffix in (".jpg", ".png", ".webp", ".bmp")
    ),
    ("x.png", b"", 400),
    ("a.aedat4", b"#!AER-DAT4.0\r\n" + bytes(100), 400),
    ("a.raw", b"% evt 3.0\n% end\n" + bytes(3), 400),
    ("a.bin", bytes(7), 400),
]


@pytest.mark.parametrize(("name", "data", "status"), UNREADABLE)
def test_what_cannot_be_read_is_refused_by_what_it_is(client: TestClient, name: str, data: bytes, status: int) -> None:
    form = refused(client.post("/v1/predict", files={"file": (name, data)}))
    assert form == refused(client.post(f"/v1/predict?name={name}", content=data))
    assert (form[0], "/" in form[1], "empty" in form[1]) == (status, False, not data)


def test_too_long_a_recording_gets_413() -> None:
    with TestClient(create_app(settings(max_recording_steps=5), (tiny(),))) as client:
        status, sentence = refused(client.post("/v1/predict", files=RECORDING))
    assert (status, "at most 5" in sentence) == (413, True)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        *((f"model={name}", 404) for name in ("nothing", "..%2f..%2fetc", "%00")),
        *((query, 400) for query in ("confidence=2", "error_rate=1", "logits=perhaps", "<b>=1")),
    ],
)
def test_bad_queries(client: TestClient, query: str, status: int) -> None:
    code, sentence = refused(client.post(f"/v1/predict?{query}", files={"file": picture()}))
    assert (code, "<" in sentence) == (status, False)


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
    assert [model["name"] for model in body["models"]] == ["tiny", "pixels", "fine", "promising", "moves"]
    first = body["models"][0]
    assert (first["labels"], first["metrics"]) == (list(LABELS), {"accuracy": 0.5})
    assert first["contract"]["bin_us"] == EVENT_CONTRACT.bin_us
    for sample in client.get("/samples").json():
        data = client.get(f"/samples/{sample['name']}").content
        assert data
        assert len(data) % 13 == 0
    for name in ("..%2f..%2fpyproject.toml", "none"):
        assert client.get(f"/samples/{name}").status_code == 404


def test_health_metrics_and_methods(client: TestClient) -> None:
    assert client.get("/health/live").json() == {"live": True}
    until(lambda: client.get("/health/ready").json() == {"ready": True}, "decoders are warm")
    client.post("/v1/predict", files={"file": picture()})
    text = client.get("/metrics").text
    assert 'spikesight_requests_total{route="/v1/predict",status="200"}' in text
    for words in ("GET /v1/predict POST", "POST /v1/models GET", "PUT /metrics GET"):
        wrong, path, allowed = words.split()
        answer = client.request(wrong, path)
        assert (refused(answer)[0], answer.headers["allow"]) == (405, allowed)
    assert refused(client.get("/nothing")) == (404, "there is nothing at this path")


def test_the_page_is_asked_for_again_by_its_tag(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "text/html" in page.headers["content-type"]
    assert client.get("/", headers={"if-none-match": page.headers["etag"]}).status_code == 304
