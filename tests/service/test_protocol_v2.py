"""Open Inference Protocol v2: what Triton's own client can do, the answers of /v1/predict, and malformed requests."""

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import write_recording
from spikesight.service.api import create_app
from spikesight.service.protocol_v2 import HEADER, MAX_DOCUMENT
from tests.support.inputs.samples import picture, some_events
from tests.support.models import LABELS, tiny
from tests.support.serving.servers import running, settings
from tests.support.waiting import until

LOGITS = {"name": "logits"}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(settings(max_batch=4), (tiny(),))) as client:
        yield client


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Two images and a recording."""
    path = tmp_path_factory.mktemp("files") / "made"
    write_recording(path, some_events(size=(24, 32)), SensorSize(34, 34), "aedat4")
    return [picture(".png"), picture(".jpg", seed=1), path.read_bytes()]


def elements(*blobs: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(blob)) + blob for blob in blobs)


def document(*blobs: bytes, **changes: Any) -> dict[str, Any]:
    """A request with these files as base64; `changes` of its tensor."""
    data = [base64.b64encode(blob).decode() for blob in blobs]
    return {"inputs": [{"name": "sample", "datatype": "BYTES", "shape": [len(data)], "data": data, **changes}]}


def in_binary(n: int, size: object) -> dict[str, Any]:
    tensor = {"name": "sample", "datatype": "BYTES", "shape": [n], "parameters": {"binary_data_size": size}}
    return {"inputs": [tensor]}


def infer(client: TestClient, body: object, tail: bytes = b"", length: object = None, path: str = "tiny"):
    """The answer to a document, or to bytes; `tail` is behind it in binary."""
    head = body if isinstance(body, bytes) else json.dumps(body).encode()
    length = len(head) if tail and length is None else length
    headers = {} if length is None else {HEADER: str(length)}
    return client.post(f"/v2/models/{path}/infer", content=head + tail, headers=headers)


def outputs_of(answer) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


def test_model_metadata(client: TestClient) -> None:
    body = client.get("/v2/models/tiny").json()
    assert (body["name"], body["versions"]) == ("tiny", ["1"])
    assert body["inputs"] == [{"name": "sample", "datatype": "BYTES", "shape": [-1]}]
    assert body["outputs"] == [
        {"name": "label", "datatype": "BYTES", "shape": [-1]},
        *({"name": name, "datatype": "FP32", "shape": [-1, 3]} for name in ("probabilities", "logits")),
        *({"name": name, "datatype": "INT64", "shape": [-1]} for name in ("steps", "spikes", "synops")),
    ]
    assert client.get("/v2/models/tiny/ready").json() == {"name": "tiny", "ready": True}


def test_the_answers_are_those_of_predict_in_every_form(client: TestClient, files: list[bytes]) -> None:
    expected = [client.post("/v1/predict?logits=1", content=data).json() for data in files]
    answer = infer(client, document(*files) | {"id": "abc"})
    found, body = outputs_of(answer), answer.json()
    assert (body["model_name"], body["model_version"], body["id"]) == ("tiny", "1", "abc")
    assert [output["shape"] for output in body["outputs"]] == [[3], [3, 3], [3, 3], [3], [3], [3]]
    for n, one in enumerate(expected):
        assert (found["label"][n], found["steps"][n]) == (one["label"], one["step"])
        assert (found["spikes"][n], found["synops"][n]) == (one["spikes"], one["synops"])
        assert found["logits"][3 * n : 3 * n + 3] == pytest.approx(one["logits"], rel=1e-4)
        assert found["probabilities"][3 * n : 3 * n + 3] == list(one["probabilities"].values())
    tensor = elements(*files)
    assert outputs_of(infer(client, in_binary(3, len(tensor)), tensor)).keys() == found.keys()
    assert outputs_of(infer(client, files[2], length=0))["label"] == found["label"][2:]
    named = outputs_of(infer(client, document(files[0]) | {"outputs": [LOGITS]}))
    assert named == {"logits": pytest.approx(found["logits"][:3], rel=1e-4)}


GOOD = document(picture())


def asked(**changes: Any) -> dict[str, Any]:
    return GOOD | changes


@pytest.mark.attack("v2 JSON", "bad JSON, 100,000 levels deep", "400")
@pytest.mark.attack("v2 JSON", "huge, negative or Boolean shapes; shapes that do not match the data", "400")
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "JSON"),
        (b"[" * 100_000, "JSON"),
        (b'{"id": "\xff"}', "JSON"),
        ({}, "inputs"),
        (asked(inputs=GOOD["inputs"] * 2), "inputs"),
        (document(b"x", name="y"), "inputs.0.name"),
        (document(b"x", datatype="FP32"), "inputs.0.datatype"),
        *((document(b"x", shape=wrong), "inputs.0.shape") for wrong in (3, [True], ["1"], [1.5])),
        *((document(b"x", shape=wrong), "'shape' does not match") for wrong in ([2**31], [-1], [2], [], [1, 1])),
        (document(b"x", data=None), "either data, or binary_data_size"),
        (document(b"x", parameters={"binary_data_size": 3}), "either data, or binary_data_size"),
        (document(b"x", data=["not base64!"]), "base64"),
        (document(b"x", parameters={"shared_memory_region": "r"}), "shared_memory_region"),
        (asked(outputs=[{"name": "nothing"}]), "no output 'nothing'; this model gives label"),
        (asked(outputs=[LOGITS | {"parameters": {"binary_data": 1}}]), "binary_data"),
        (asked(outputs=[LOGITS | {"parameters": {"classification": 2}}]), "classification"),
        (asked(parameters={"sequence_id": 7}), "sequence_id"),
    ],
)
def test_malformed_requests_get_400(client: TestClient, body: object, words: str) -> None:
    answer = infer(client, body)
    assert answer.status_code == 400, answer.text
    assert list(answer.json()) == ["error"]
    assert words in answer.json()["error"]


@pytest.mark.attack("v2 JSON", "false `binary_data_size`, header longer than the body, leftover bytes", "400")
@pytest.mark.attack("v2 JSON", "BYTES elements longer than their tensor", "400")
def test_lying_lengths_get_400(client: TestClient) -> None:
    image = picture()
    tensor = elements(image)
    for size in (0, len(tensor) - 1, len(tensor) + 1, -4, 2**40, True, "8"):
        assert infer(client, in_binary(1, size), tensor).status_code == 400, size
    good = in_binary(1, len(tensor))
    whole = len(json.dumps(good)) + len(tensor)
    for header in (whole + 1, "-1", "x", "9" * 30):
        assert "must be a number of bytes" in infer(client, good, tensor, header).json()["error"]
    for lies in (struct.pack("<I", len(image) + 1) + image, struct.pack("<I", 2**32 - 1) + image, b"\1\0"):
        assert "cut off" in infer(client, in_binary(1, len(lies)), lies).json()["error"]
    for n, lies in ((2, tensor), (1, tensor * 2), (1, b"")):
        assert infer(client, in_binary(n, len(lies)), lies).status_code == 400


@pytest.mark.parametrize(
    ("blobs", "status"),
    [([], 400), ([b""], 400), ([b"GIF89a"], 415), ([b"<svg/>"], 415), ([picture(), b"GIF89a"], 415), ([b"x"] * 5, 413)],
)
@pytest.mark.attack("v2 JSON", "batch above the maximum", "413")
def test_samples_that_are_refused(client: TestClient, blobs: list[bytes], status: int) -> None:
    assert infer(client, document(*blobs)).status_code == status


@pytest.mark.attack("v2 JSON", "JSON of many megabytes", "413, unparsed")
def test_a_large_document_is_not_parsed(client: TestClient) -> None:
    assert infer(client, b"[" + b"0," * MAX_DOCUMENT).status_code == 413


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_triton_s_own_client(files: list[bytes]) -> None:
    """Against a real server: what passes here works with tools built on it."""
    http = pytest.importorskip("tritonclient.http", reason="needs tritonclient: pip install 'spikesight[dev]'")

    def samples(*data: object, binary: bool = True) -> list[Any]:
        made = http.InferInput("sample", [len(data)], "BYTES")
        made.set_data_from_numpy(np.array(data, object), binary_data=binary)
        return [made]

    with running(classifiers=(tiny(),)) as port:
        triton = http.InferenceServerClient(f"127.0.0.1:{port}", concurrency=4)
        assert triton.is_server_live()
        until(triton.is_server_ready, "models and decoders are warm")
        assert triton.is_model_ready("tiny")
        assert not triton.is_model_ready("none")
        assert triton.get_server_metadata()["extensions"] == ["binary_tensor_data"]
        assert triton.get_model_metadata("tiny")["inputs"][0]["datatype"] == "BYTES"

        everything = triton.infer("tiny", samples(*files))
        assert {label.decode() for label in everything.as_numpy("label")} <= set(LABELS)
        assert everything.as_numpy("synops").dtype == np.int64
        assert everything.as_numpy("probabilities").shape == (3, 3)
        for binary in (True, False):
            wanted = [http.InferRequestedOutput(name, binary_data=binary) for name in ("logits", "label")]
            given = files if binary else [base64.b64encode(data).decode() for data in files]
            answer = triton.infer("tiny", samples(*given, binary=binary), outputs=wanted)
            assert answer.as_numpy("probabilities") is None
            np.testing.assert_allclose(answer.as_numpy("logits"), everything.as_numpy("logits"), rtol=1e-4)
            assert answer.as_numpy("label").astype("S").tolist() == everything.as_numpy("label").astype("S").tolist()

        waiting = [triton.async_infer("tiny", samples(files[0]), request_id=str(n)) for n in range(6)]
        assert [one.get_result().get_response()["id"] for one in waiting] == [str(n) for n in range(6)]
        triton.close()
