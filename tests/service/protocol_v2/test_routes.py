"""Open Inference Protocol v2: metadata, JSON and binary inference, sequences, classification, errors, statistics."""

import json
import struct
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient

from spikesight.service.api import create_app
from spikesight.service.protocol_v2.tensors import MAX_DIMS, MAX_INPUTS
from tests.support.inputs.samples import picture
from tests.support.models import EVENT_CONTRACT, LABELS, tiny
from tests.support.serving.http import TOKEN
from tests.support.serving.servers import settings

SHAPE = [EVENT_CONTRACT.channels, EVENT_CONTRACT.height, EVENT_CONTRACT.width]


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(settings(max_batch=4), (tiny(),))) as client:
        yield client


def steps(n: int = 1, t: int = 3, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((n, t, *SHAPE)) < 0.2).astype(np.float32)


def x_input(x: np.ndarray, **changes: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": "FP32", "shape": list(x.shape), "data": x.tolist(), **changes}


def in_binary(name: str, datatype: str, shape: list[int], size: object, **more: Any) -> dict[str, Any]:
    parameters = {"binary_data_size": size}
    return {"inputs": [{"name": name, "datatype": datatype, "shape": shape, "parameters": parameters, **more}]}


def infer(client: TestClient, body: object, tail: bytes = b"", model: str = "tiny.steps", length: object = None):
    """The answer to a document, or to bytes; `tail` is behind it in binary."""
    head = body if isinstance(body, bytes) else json.dumps(body).encode()
    length = len(head) if tail and length is None else length
    headers = {} if length is None else {"Inference-Header-Content-Length": str(length)}
    return client.post(f"/v2/models/{model}/infer", content=head + tail, headers=headers)


def outputs_of(answer) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return {output["name"]: output for output in answer.json()["outputs"]}


@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_model_metadata(client: TestClient, version: str) -> None:
    body = client.get(f"/v2/models/tiny{version}").json()
    assert body["versions"] == ["1"]
    assert body["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
    assert sorted(body["outputs"], key=lambda output: output["name"]) == [
        {"name": "label", "datatype": "BYTES", "shape": [-1]},
        *({"name": name, "datatype": "FP32", "shape": [-1, 3]} for name in ("logits", "probabilities")),
        *({"name": name, "datatype": "INT64", "shape": [-1]} for name in ("spikes", "steps", "synops")),
    ]
    assert client.get(f"/v2/models/tiny{version}/ready").json() == {"name": "tiny", "ready": True}
    config = client.get(f"/v2/models/tiny.steps{version}/config").json()
    assert config["max_batch_size"] == 0
    assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1, -1, *SHAPE], "optional": False}]
    assert {"name": "label", "data_type": "TYPE_STRING", "dims": [-1]} in config["output"]


@pytest.mark.parametrize(
    "path", ["none", "none/ready", "tiny/versions/2", "none/config", "none/stats", "%00", "a" * 5000]
)
def test_unknown_models_get_404(client: TestClient, path: str) -> None:
    answer = client.get(f"/v2/models/{path}")
    assert answer.status_code in (404, 414)
    assert list(answer.json()) == ["error"]


def test_json_inference_equals_the_classifier(client: TestClient) -> None:
    x, classifier = steps(2), tiny()
    answer = infer(client, {"id": "abc", "inputs": [x_input(x)]})
    body, found = answer.json(), outputs_of(answer)
    assert (body["model_name"], body["model_version"], body["id"]) == ("tiny.steps", "1", "abc")
    assert found["probabilities"]["shape"] == [2, 3]
    assert found["label"]["data"][0] in LABELS
    assert found["steps"]["data"] == [3, 3]
    logits = classifier.run(torch.from_numpy(x[:1].swapaxes(0, 1)), classifier.initial_state(1)).logits
    np.testing.assert_allclose(found["logits"]["data"][:3], logits[:, 0].mean(0), rtol=1e-4)
    flat = infer(client, {"inputs": [x_input(x, data=x.reshape(-1).tolist())]}).json()
    assert flat == {key: value for key, value in body.items() if key != "id"}


def elements(*blobs: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(blob)) + blob for blob in blobs)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_images_raw_and_as_elements(client: TestClient, suffix: str) -> None:
    blobs = [picture(suffix, seed=n) for n in range(2)]
    tensor = elements(*blobs)
    both = outputs_of(infer(client, in_binary("image", "BYTES", [2], len(tensor)), tensor, "tiny"))
    single = outputs_of(infer(client, blobs[1], model="tiny", length=0))
    assert (single["label"]["shape"], both["probabilities"]["shape"]) == ([1], [2, 3])
    np.testing.assert_allclose(both["logits"]["data"][3:], single["logits"]["data"], rtol=1e-4)


@pytest.mark.parametrize(("classes", "shape"), [(2, [1, 2]), (99, [1, 3])])
def test_classification(client: TestClient, classes: int, shape: list[int]) -> None:
    wished = {"name": "probabilities", "parameters": {"classification": classes}}
    document = {"inputs": [x_input(steps())], "outputs": [wished, {"name": "probabilities"}]}
    best, plain = infer(client, document).json()["outputs"]
    assert (best["datatype"], best["shape"]) == ("BYTES", shape)
    order = sorted(range(3), key=lambda index: -plain["data"][index])
    expected = [f"{plain['data'][index]:f}:{index}:{LABELS[index]}" for index in order]
    assert best["data"] == expected[: shape[1]]


def sequence(client: TestClient, identity: object, x: np.ndarray, *, start: bool = False, end: bool = False):
    parameters = {"sequence_id": identity, "sequence_start": start, "sequence_end": end}
    return infer(client, {"inputs": [x_input(x)], "parameters": parameters})


@pytest.mark.parametrize("identity", [7, "a stream"])
def test_a_sequence_keeps_its_membranes_until_it_ends_or_starts_anew(client: TestClient, identity: object) -> None:
    x = steps(1, 6)
    whole = outputs_of(infer(client, {"inputs": [x_input(x)]}))["logits"]["data"]
    for _ in range(2):
        assert sequence(client, identity, x[:, :2], start=True).status_code == 200
    sequence(client, identity, x[:, 2:3])
    last = sequence(client, identity, x[:, 3:], end=True)
    assert outputs_of(last)["logits"]["data"] == whole
    gone = sequence(client, identity, x[:, 3:])
    assert gone.status_code == 400
    assert "sequence_start" in gone.json()["error"]


X = steps()
GOOD = x_input(X)


def nested(depth: int) -> Any:
    return X.tolist() if depth == 5 else [nested(depth - 1)]


def asked(**document: Any) -> dict[str, Any]:
    return {"inputs": [GOOD], **document}


def given(**changes: Any) -> dict[str, Any]:
    return {"inputs": [{**GOOD, **changes}]}


def wished(**parameters: Any) -> dict[str, Any]:
    return asked(outputs=[{"name": "logits", "parameters": parameters}])


@pytest.mark.parametrize(
    "body", [given(data=nested(MAX_DIMS + 1)), asked(id="i" * 1024), asked(outputs=[{"name": "label"}] * MAX_INPUTS)]
)
def test_what_is_just_allowed(client: TestClient, body: object) -> None:
    assert infer(client, body).status_code == 200


@pytest.mark.attack("v2 JSON", "bad JSON, 100,000 levels deep", "400")
@pytest.mark.attack("v2 JSON", "NaN / Infinity literal", "400 (strict parser)")
@pytest.mark.attack(
    "v2 JSON", "huge, negative, bool in shape; shape does not match data", "400, no allocation before the check"
)
@pytest.mark.attack("v2 JSON", "unknown input or datatype", "400")
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"id": "\xff"}', "is not JSON"),
        (b"[]", "must be a JSON object"),
        ({}, "at least one input"),
        ({"inputs": [GOOD] * (MAX_INPUTS + 1)}, "at least one input"),
        ({"inputs": [1]}, "an input must be an object"),
        ({"inputs": [GOOD] * 2}, "unknown or repeated input; this model takes x"),
        (given(name="y"), "unknown or repeated input"),
        (given(datatype="FP99"), "of datatype FP32"),
        (given(shape=3), "'shape' must be a list of at most"),
        (given(shape=[2**31, 3, *SHAPE]), "0 or more"),
        (given(shape=[-1, 3, *SHAPE]), "0 or more"),
        (given(shape=[True, 3, *SHAPE]), "0 or more"),
        (given(shape=[2**30, 3, *SHAPE]), "does not match the data"),
        (given(shape=[1, 3, 2, 3, 64]), "must have the shape"),
        (given(data=None), "has no data"),
        (given(data=[1.5]), "does not match the data"),
        (given(data=nested(MAX_DIMS + 2)), "too deeply"),
        (given(data=[True] * X.size), "must hold numbers"),
        (given(data=[10**400] * X.size), "too large"),
        (given(data=[float("nan")] * X.size), "NaN"),
        (given(data=[0] * (X.size - 1)), "does not match the data"),
        (json.dumps(given(data=[0] * X.size)).replace("[0,", "[1e999,").encode(), "must be finite"),
        (given(shape=[0, 3, *SHAPE], data=[]), "no sample"),
        (given(shape=[1, 0, *SHAPE], data=[]), "1 to"),
        (given(parameters=1), "'parameters' must be an object"),
        (given(parameters={"shared_memory_region": "r"}), "shared memory is not offered"),
        (wished(shared_memory_region="r"), "shared memory is not offered"),
        (asked(outputs="logits"), "'outputs' must be a list"),
        (asked(outputs=[1]), "an object with a name"),
        (asked(outputs=[{"name": "nothing"}]), "unknown output; this model gives label"),
        (asked(outputs=[{"name": "label", "parameters": {"classification": 1}}]), "cannot be classified"),
        (wished(binary_data=1), "must be true or false"),
        *((wished(classification=n), "1 or more") for n in (0, -1, True, "1")),
        (asked(id=1), "at most 1024 characters"),
        (asked(parameters=5), "'parameters' must be an object"),
        (asked(parameters={"binary_data_output": 1}), "must be true or false"),
        *((asked(parameters={"timeout": wrong}), "microseconds") for wrong in (-1, True, "soon", 10**400)),
        *((asked(parameters={"confidence": wrong}), "between 0 and 1") for wrong in (0, 1, True, "0.5")),
        *((asked(parameters={"sequence_id": wrong}), "number or a short") for wrong in (1.5, "s" * 257)),
        (asked(parameters={"sequence_id": 1, "sequence_start": "yes"}), "must be true or false"),
        (asked(parameters={"sequence_start": True}), "need a sequence_id"),
    ],
)
def test_malformed_requests_get_400(client: TestClient, body: object, words: str) -> None:
    answer = infer(client, body)
    assert answer.status_code == 400, answer.text
    assert list(answer.json()) == ["error"]
    assert words in answer.json()["error"]


@pytest.mark.attack("v2 JSON", "lying `binary_data_size`, header length > body, bytes left over", "400")
def test_lying_lengths_get_400(client: TestClient) -> None:
    blob, shape = X.tobytes(), list(X.shape)
    for size in (0, X.nbytes - 1, X.nbytes + 1, -4, 2**40, True, "8"):
        assert infer(client, in_binary("x", "FP32", shape, size), blob).status_code == 400, size
    good = in_binary("x", "FP32", shape, X.nbytes)
    whole = len(json.dumps(good)) + len(blob)
    for header, words in (
        (whole + 1, "larger than the body"),
        ("-1", "must be a number of bytes"),
        ("x", "must be a number of bytes"),
        ("9" * 30, "must be a number of bytes"),
        ("0", "only input is BYTES"),
    ):
        answer = infer(client, good, blob, length=header)
        assert (answer.status_code, words in answer.json()["error"]) == (400, True), header
    both = in_binary("x", "FP32", shape, X.nbytes, data=[1.0])
    for document, tail, words in ((good, blob + b"left over", "left over"), (both, blob, "either data or")):
        answer = infer(client, document, tail)
        assert (answer.status_code, words in answer.json()["error"]) == (400, True)


@pytest.mark.attack("v2 JSON", "BYTES elements longer than their tensor", "400")
def test_lying_byte_elements_get_400(client: TestClient) -> None:
    image = picture()
    for tensor, shape in (
        (struct.pack("<I", len(image) + 1) + image, [1]),
        (struct.pack("<I", 2**32 - 1) + image, [1]),
        (b"\1\0", [1]),
        (elements(image), [2]),
        (elements(image, image), [1]),
        (elements(b"", b"", b"", b""), [2]),
        (b"", [1]),
    ):
        assert infer(client, in_binary("image", "BYTES", shape, len(tensor)), tensor, "tiny").status_code == 400


@pytest.mark.attack("images", "BMP outside `/v1/predict`", "415")
def test_other_images_get_415(client: TestClient) -> None:
    for data in (b"GIF89a" + bytes(50), picture(".bmp"), b"<svg/>"):
        assert infer(client, data, model="tiny", length=0).status_code == 415
    assert infer(client, b"", model="tiny", length=0).status_code == 400
    in_json = infer(
        client, {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["a"]}]}, b"", "tiny"
    )
    assert (in_json.status_code, "binary" in in_json.json()["error"]) == (400, True)
    ended = in_binary("image", "BYTES", [0], 0) | {"parameters": {"sequence_id": 3}}
    assert "sequences are for" in infer(client, ended, model="tiny").json()["error"]


@pytest.mark.attack("v2 JSON", "batch above the maximum", "413")
def test_too_many_samples_get_413(client: TestClient) -> None:
    assert infer(client, {"inputs": [x_input(steps(5, 1))]}).status_code == 413


def test_a_deadline_of_a_microsecond_gets_504_and_confidence_stops_early(client: TestClient) -> None:
    assert infer(client, asked(parameters={"timeout": 1})).status_code == 504
    patient = {"timeout": 5_000_000, "priority": 3, "triton_x": 1}
    assert outputs_of(infer(client, asked(parameters=patient)))["steps"]["data"] == [3]
    assert outputs_of(infer(client, asked(parameters={"confidence": 0.34})))["steps"]["data"] == [1]


def test_statistics_are_of_the_request_that_was_made() -> None:
    """The phases are parts of the time it took, and a failure counts for the model that was asked, not as an answer."""
    with TestClient(create_app(settings(), (tiny(),))) as client:
        begin = time.perf_counter()
        for n in range(2):
            infer(client, {"inputs": [x_input(steps(3, 4, n))]})
        took_ns = (time.perf_counter() - begin) * 1e9
        infer(client, asked(parameters={"confidence": 7}))
        infer(client, b"", model="tiny", length=0)
        every = client.get("/v2/models/stats").json()["model_stats"]
        assert client.get("/v2/models/tiny.steps/stats").json()["model_stats"] == every[1:]
    assert [(entry["name"], entry["version"]) for entry in every] == [("tiny", "1"), ("tiny.steps", "1")]
    stats = every[1]["inference_stats"]
    phases = [stats[name] for name in ("queue", "compute_input", "compute_infer", "compute_output")]
    assert all(phase["count"] == 2 and 0 < phase["ns"] < took_ns for phase in phases)
    assert sum(phase["ns"] for phase in phases) - 8 <= stats["success"]["ns"] <= took_ns
    assert stats["fail"]["ns"] > 0
    assert stats["cache_hit"] == stats["cache_miss"] == {"count": 0, "ns": 0}
    for entry, successes in zip(every, (0, 2)):
        counts = {phase: entry["inference_stats"][phase]["count"] for phase in ("success", "fail")}
        assert (entry["inference_count"], counts) == (3 * successes, {"success": successes, "fail": 1})
    assert 2 <= every[1]["execution_count"] <= 6
    assert every[1]["last_inference"] > 1e12, "milliseconds since 1970"
    assert every[0]["execution_count"] == every[0]["last_inference"] == 0


@pytest.mark.attack(
    "model files", "loading a model anew: without the token, on a service without one, with parameters", "401, 403, 400"
)
def test_models_are_loaded_again_only_where_they_lie_on_disk_and_with_a_token(client: TestClient) -> None:
    load = "/v2/repository/models/tiny/load"
    assert client.post(load).status_code == 403  # without a token nobody can be told from the operator
    with TestClient(create_app(settings(token=TOKEN), (tiny(),))) as guarded:
        mine = {"Authorization": f"Bearer {TOKEN}"}
        assert guarded.post(load, headers=mine).status_code == 409  # given in memory
        assert guarded.post(load, headers=mine, content=b'{"parameters": {"config": ""}}').status_code == 400
        assert guarded.post(load.replace("tiny", "none"), headers=mine).status_code == 404
        with guarded.app.state.runtime.registry._loading:  # type: ignore[attr-defined]
            assert guarded.post(load, headers=mine).status_code == 503
        assert guarded.post(load).status_code == 401
        guarded.app.state.runtime.registry.reload = print  # type: ignore[attr-defined]
        for body in (b"", b"{}", b" {\r\n\t} "):
            answer = guarded.post(load, headers=mine, content=body)
            assert (answer.status_code, answer.json()) == (200, {"name": "tiny", "ready": True})
