"""Open Inference Protocol v2: metadata, JSON and binary inference, sequences, classification, errors, statistics."""

import json
import struct
import time
from collections.abc import Iterator

import numpy as np
import pytest
from fastapi.testclient import TestClient

from spikesight.service.api import create_app
from tests.support.inputs.samples import picture
from tests.support.models import EVENT_CONTRACT, LABELS, tiny
from tests.support.serving.http import TOKEN
from tests.support.serving.servers import settings
from tests.support.waiting import until

SHAPE = [EVENT_CONTRACT.channels, EVENT_CONTRACT.height, EVENT_CONTRACT.width]


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(settings(max_batch=4, max_sequences=3), (tiny(),))) as client:
        yield client


def steps(n: int = 1, t: int = 3, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((n, t, *SHAPE)) < 0.2).astype(np.float32)


def x_input(x: np.ndarray) -> dict:
    return {"name": "x", "datatype": "FP32", "shape": list(x.shape), "data": x.tolist()}


def infer(client: TestClient, body: object, model: str = "tiny.steps", **headers: str):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(
        f"/v2/models/{model}/infer", content=content, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def with_tensors(document: dict, *blobs: bytes) -> tuple[bytes, str]:
    head = json.dumps(document).encode()
    return head + b"".join(blobs), str(len(head))


def outputs_of(answer) -> dict:
    return {output["name"]: output for output in answer.json()["outputs"]}


def test_server_metadata_and_health(client: TestClient) -> None:
    for path in ("/v2", "/v2/"):
        body = client.get(path).json()
        assert body["name"] == "spikesight"
        assert "binary_tensor_data" in body["extensions"]
    assert client.get("/v2/health/live").json() == {"live": True}
    until(lambda: client.get("/v2/health/ready").json() == {"ready": True}, "decoders are warm")
    index = client.post("/v2/repository/index").json()
    assert index[0] == {"name": "tiny", "version": "1", "state": "READY", "reason": ""}
    assert [entry["name"] for entry in index] == ["tiny", "tiny.steps"]


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


@pytest.mark.parametrize(
    "path", ["/v2/cudasharedmemory/status", "/v2/systemsharedmemory/status", "/v2/trace/setting", "/v2/logging"]
)
def test_what_is_not_offered_gets_404(client: TestClient, path: str) -> None:
    assert client.post(path).status_code == 404


def test_json_inference_equals_the_classifier(client: TestClient) -> None:
    x = steps(2)
    answer = infer(client, {"id": "abc", "inputs": [x_input(x)]})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["model_name"], body["model_version"], body["id"]) == ("tiny.steps", "1", "abc")
    found = outputs_of(answer)
    assert found["probabilities"]["shape"] == [2, 3]
    assert found["label"]["data"][0] in LABELS
    assert found["steps"]["data"] == [3, 3]
    import torch

    classifier = tiny()
    state, mean = classifier.initial_state(1), np.zeros(3)
    for t in range(3):
        result = classifier.step(torch.from_numpy(x[:1, t]), state)
        state = result.state
        mean += (result.logits[0].numpy() - mean) / (t + 1)
    np.testing.assert_allclose(found["logits"]["data"][:3], mean, rtol=1e-4)


def test_no_id_in_none_out(client: TestClient) -> None:
    assert "id" not in infer(client, {"inputs": [x_input(steps())]}).json()


def test_flat_and_nested_data_are_equal(client: TestClient) -> None:
    x = steps()
    flat = x_input(x) | {"data": x.reshape(-1).tolist()}
    assert infer(client, {"inputs": [flat]}).json() == infer(client, {"inputs": [x_input(x)]}).json()


def test_binary_both_ways(client: TestClient) -> None:
    x = steps()
    entry = {"name": "x", "datatype": "FP32", "shape": list(x.shape), "parameters": {"binary_data_size": x.nbytes}}
    document = {"inputs": [entry], "parameters": {"binary_data_output": True}}
    body, length = with_tensors(document, x.tobytes())
    answer = infer(client, body, inference_header_content_length=length)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/octet-stream"
    head = int(answer.headers["inference-header-content-length"])
    described = json.loads(answer.content[:head])["outputs"]
    at, values = head, {}
    for output in described:
        size = output["parameters"]["binary_data_size"]
        values[output["name"]] = answer.content[at : at + size]
        at += size
    assert at == len(answer.content)
    expected = outputs_of(infer(client, {"inputs": [x_input(x)]}))
    np.testing.assert_allclose(
        np.frombuffer(values["probabilities"], "<f4"), expected["probabilities"]["data"], rtol=1e-6
    )
    (size,) = struct.unpack("<I", values["label"][:4])
    assert values["label"][4 : 4 + size].decode() == expected["label"]["data"][0]


def test_named_outputs_and_their_own_word_on_binary(client: TestClient) -> None:
    document = {
        "inputs": [x_input(steps())],
        "parameters": {"binary_data_output": True},
        "outputs": [{"name": "spikes", "parameters": {"binary_data": False}}, {"name": "logits"}],
    }
    answer = infer(client, document)
    head = int(answer.headers["inference-header-content-length"])
    outputs = json.loads(answer.content[:head])["outputs"]
    assert [output["name"] for output in outputs] == ["spikes", "logits"]
    assert "data" in outputs[0]
    assert outputs[1]["parameters"] == {"binary_data_size": 12}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_the_raw_one_liner(client: TestClient, suffix: str) -> None:
    answer = infer(client, picture(suffix), "tiny", inference_header_content_length="0")
    assert answer.status_code == 200, answer.text
    assert outputs_of(answer)["label"]["shape"] == [1]


def test_images_as_binary(client: TestClient) -> None:
    blobs = [picture(seed=n) for n in range(2)]
    tensor = b"".join(struct.pack("<I", len(blob)) + blob for blob in blobs)
    entry = {"name": "image", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(tensor)}}
    body, length = with_tensors({"inputs": [entry]}, tensor)
    answer = infer(client, body, "tiny", inference_header_content_length=length)
    assert outputs_of(answer)["probabilities"]["shape"] == [2, 3]
    single = outputs_of(infer(client, blobs[1], "tiny", inference_header_content_length="0"))
    np.testing.assert_allclose(outputs_of(answer)["logits"]["data"][3:], single["logits"]["data"], rtol=1e-4)


def test_classification(client: TestClient) -> None:
    document = {
        "inputs": [x_input(steps())],
        "outputs": [{"name": "probabilities", "parameters": {"classification": 2}}],
    }
    (output,) = infer(client, document).json()["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [1, 2])
    first, second = (text.split(":") for text in output["data"])
    assert float(first[0]) >= float(second[0])
    assert first[2] == LABELS[int(first[1])]
    document["outputs"][0]["parameters"]["classification"] = 99
    assert infer(client, document).json()["outputs"][0]["shape"] == [1, 3]


def sequence(client: TestClient, identity: object, x: np.ndarray, *, start: bool = False, end: bool = False):
    parameters = {"sequence_id": identity, "sequence_start": start, "sequence_end": end}
    return infer(client, {"inputs": [x_input(x)], "parameters": parameters})


@pytest.mark.parametrize("identity", [7, "a stream"])
def test_a_sequence_keeps_its_membranes(client: TestClient, identity: object) -> None:
    x = steps(1, 6)
    whole = outputs_of(infer(client, {"inputs": [x_input(x)]}))["logits"]["data"]
    assert sequence(client, identity, x[:, :2], start=True).status_code == 200
    sequence(client, identity, x[:, 2:3])
    last = sequence(client, identity, x[:, 3:], end=True)
    assert outputs_of(last)["logits"]["data"] == whole
    gone = sequence(client, identity, x[:, 3:])
    assert gone.status_code == 400
    assert "sequence_start" in gone.json()["error"]


def test_a_sequence_may_start_anew(client: TestClient) -> None:
    first = outputs_of(sequence(client, 9, steps(), start=True))["logits"]["data"]
    again = outputs_of(sequence(client, 9, steps(), start=True, end=True))["logits"]["data"]
    assert first == again


def test_sequences_are_bounded(client: TestClient) -> None:
    answers = [sequence(client, f"many {n}", steps(), start=True).status_code for n in range(4)]
    assert answers == [200, 200, 200, 503]
    for n in range(3):
        sequence(client, f"many {n}", steps(), end=True)


X = steps()
GOOD = x_input(X)
BAD_BODIES: dict[str, object] = {
    "not json": b"{",
    "deep": b"[" * 100_000,
    "deep object": b'{"a":' * 100_000,
    "not utf-8": b'{"id": "\xff"}',
    "no inputs": {},
    "unknown input": {"inputs": [GOOD | {"name": "y"}]},
    "unknown datatype": {"inputs": [GOOD | {"datatype": "FP99"}]},
    "huge shape": {"inputs": [GOOD | {"shape": [2**40, 3, *SHAPE]}]},
    "large shape": {"inputs": [GOOD | {"shape": [2**30, 3, *SHAPE]}]},
    "negative": {"inputs": [GOOD | {"shape": [-1, 3, *SHAPE]}]},
    "bool": {"inputs": [GOOD | {"shape": [True, 3, *SHAPE]}]},
    "wrong size": {"inputs": [GOOD | {"shape": [1, 3, 2, 3, 64]}]},
    "huge number": b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1,2,16,12],"data":[1e999]}]}',
    "nan": json.dumps({"inputs": [GOOD | {"data": [float("nan")] * X.size}]}).encode(),
    "infinity": json.dumps({"inputs": [GOOD | {"data": [float("inf")] * X.size}]}).encode(),
    "unknown output": {"inputs": [GOOD], "outputs": [{"name": "nothing"}]},
    "classification of labels": {"inputs": [GOOD], "outputs": [{"name": "label", "parameters": {"classification": 1}}]},
    "shared memory out": {
        "inputs": [GOOD],
        "outputs": [{"name": "logits", "parameters": {"shared_memory_region": "r"}}],
    },
    "parameters no object": {"inputs": [GOOD], "parameters": 5},
    "timeout negative": {"inputs": [GOOD], "parameters": {"timeout": -1}},
    "timeout true": {"inputs": [GOOD], "parameters": {"timeout": True}},
    "confidence 0": {"inputs": [GOOD], "parameters": {"confidence": 0}},
    "confidence 1": {"inputs": [GOOD], "parameters": {"confidence": 1}},
    "confidence no number": {"inputs": [GOOD], "parameters": {"confidence": "0.5"}},
    "timeout no number": {"inputs": [GOOD], "parameters": {"timeout": "soon"}},
    "sequence id": {"inputs": [GOOD], "parameters": {"sequence_id": 1.5}},
    "sequence flag": {"inputs": [GOOD], "parameters": {"sequence_id": 1, "sequence_start": "yes"}},
    "start without id": {"inputs": [GOOD], "parameters": {"sequence_start": True}},
    "no samples": {"inputs": [GOOD | {"shape": [0, 3, *SHAPE], "data": []}]},
    "no steps": {"inputs": [GOOD | {"shape": [1, 0, *SHAPE], "data": []}]},
}


@pytest.mark.attack("v2 JSON", "bad JSON, 100,000 levels deep", "400")
@pytest.mark.attack("v2 JSON", "NaN / Infinity literal", "400 (strict parser)")
@pytest.mark.attack(
    "v2 JSON", "huge, negative, bool in shape; shape does not match data", "400, no allocation before the check"
)
@pytest.mark.attack("v2 JSON", "unknown input or datatype", "400")
@pytest.mark.parametrize("name", BAD_BODIES)
def test_malformed_requests_get_400(client: TestClient, name: str) -> None:
    answer = infer(client, BAD_BODIES[name])
    assert answer.status_code == 400, answer.text
    assert list(answer.json()) == ["error"]


@pytest.mark.attack("v2 JSON", "lying `binary_data_size`, header length > body, bytes left over", "400")
def test_lying_lengths_get_400(client: TestClient) -> None:
    entry = {"name": "x", "datatype": "FP32", "shape": list(X.shape)}
    for size in (X.nbytes - 1, X.nbytes + 1, -4, 2**40, True, "8"):
        body, length = with_tensors({"inputs": [{**entry, "parameters": {"binary_data_size": size}}]}, X.tobytes())
        assert infer(client, body, inference_header_content_length=length).status_code == 400, size
    good = {**entry, "parameters": {"binary_data_size": X.nbytes}}
    body, length = with_tensors({"inputs": [good]}, X.tobytes())
    for header in (str(len(body) + 1), "-1", "x", "9" * 30, "0"):
        assert infer(client, body, inference_header_content_length=header).status_code == 400, header
    assert infer(client, body + b"left over", inference_header_content_length=length).status_code == 400
    both, length = with_tensors({"inputs": [{**good, "data": [1.0]}]}, X.tobytes())
    assert infer(client, both, inference_header_content_length=length).status_code == 400


@pytest.mark.attack("v2 JSON", "BYTES elements longer than their tensor", "400")
def test_lying_byte_elements_get_400(client: TestClient) -> None:
    image = picture()
    for tensor, shape in (
        (struct.pack("<I", len(image) + 1) + image, [1]),
        (struct.pack("<I", 2**32 - 1) + image, [1]),
        (b"\1\0", [1]),
        (struct.pack("<I", len(image)) + image, [2]),
        (struct.pack("<I", 0) * 4, [2]),
        (b"", [1]),
    ):
        entry = {"name": "image", "datatype": "BYTES", "shape": shape, "parameters": {"binary_data_size": len(tensor)}}
        body, length = with_tensors({"inputs": [entry]}, tensor)
        assert infer(client, body, "tiny", inference_header_content_length=length).status_code == 400


def test_images_in_json_get_400_with_the_way_out(client: TestClient) -> None:
    entry = {"name": "image", "datatype": "BYTES", "shape": [1], "data": ["abc"]}
    answer = infer(client, {"inputs": [entry]}, "tiny")
    assert answer.status_code == 400
    assert "binary" in answer.json()["error"]


@pytest.mark.attack("v2 JSON", "batch above the maximum", "413")
def test_too_many_samples_get_413(client: TestClient) -> None:
    assert infer(client, {"inputs": [x_input(steps(5, 1))]}).status_code == 413


@pytest.mark.attack("images", "BMP outside `/v1/predict`", "415")
def test_other_images_get_415(client: TestClient) -> None:
    for data in (b"GIF89a" + bytes(50), picture(".bmp"), b"<svg/>"):
        assert infer(client, data, "tiny", inference_header_content_length="0").status_code == 415
    assert infer(client, b"", "tiny", inference_header_content_length="0").status_code == 400


def test_sequences_on_the_image_model_get_400(client: TestClient) -> None:
    entry = {"name": "image", "datatype": "BYTES", "shape": [0], "data": []}
    assert infer(client, {"inputs": [entry], "parameters": {"sequence_id": 3}}, "tiny").status_code == 400


def test_a_deadline_of_a_microsecond_gets_504(client: TestClient) -> None:
    assert infer(client, {"inputs": [GOOD], "parameters": {"timeout": 1}}).status_code == 504
    assert (
        infer(
            client, {"inputs": [GOOD], "parameters": {"timeout": 5_000_000, "priority": 3, "triton_x": 1}}
        ).status_code
        == 200
    )


def test_confidence_stops_early(client: TestClient) -> None:
    early = infer(client, {"inputs": [GOOD], "parameters": {"confidence": 0.34}})
    assert outputs_of(early)["steps"]["data"] == [1]


def test_statistics_are_of_the_request_that_was_made() -> None:
    """The phases are parts of the time it took, and a failure counts for the model that was asked, not as an answer."""
    with TestClient(create_app(settings(), (tiny(),))) as client:
        begin = time.perf_counter()
        infer(client, {"inputs": [x_input(steps(3, 4))]})
        took_ns = (time.perf_counter() - begin) * 1e9
        infer(client, {"inputs": [x_input(steps(1, 2))], "parameters": {"confidence": 7}})
        infer(client, b"", "tiny", inference_header_content_length="0")
        both = {entry["name"]: entry for entry in client.get("/v2/models/stats").json()["model_stats"]}
    stats = both["tiny.steps"]["inference_stats"]
    phases = [stats[name]["ns"] for name in ("queue", "compute_input", "compute_infer", "compute_output")]
    assert all(0 < ns < took_ns for ns in phases)
    assert sum(phases) - 4 <= stats["success"]["ns"] <= took_ns
    assert stats["fail"]["ns"] > 0
    for name, samples in (("tiny.steps", 3), ("tiny", 0)):
        entry = both[name]
        counts = {phase: entry["inference_stats"][phase]["count"] for phase in ("success", "fail")}
        assert (entry["inference_count"], counts) == (samples, {"success": samples // 3, "fail": 1})
    assert both["tiny"]["execution_count"] == both["tiny"]["last_inference"] == 0


def test_statistics_add_up() -> None:
    with TestClient(create_app(settings(), (tiny(),))) as client:
        for n in range(3):
            infer(client, {"inputs": [x_input(steps(2, seed=n))]})
        infer(client, b"{")
        (stats,) = client.get("/v2/models/tiny.steps/stats").json()["model_stats"]
        everything = client.get("/v2/models/stats").json()["model_stats"]
    assert (stats["name"], stats["version"]) == ("tiny.steps", "1")
    assert stats["inference_count"] == 6
    assert 3 <= stats["execution_count"] <= 6
    counts = {name: timer["count"] for name, timer in stats["inference_stats"].items()}
    assert counts["success"] == counts["queue"] == counts["compute_infer"] == counts["compute_input"] == 3
    assert counts["compute_output"] == 3
    assert counts["fail"] == 1
    assert stats["last_inference"] > 1e12
    assert [entry["name"] for entry in everything] == ["tiny", "tiny.steps"]


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
        guarded.app.state.runtime.registry.load_again = print  # type: ignore[attr-defined]
        for body in (b"", b"{}", b" {\r\n\t} "):
            answer = guarded.post(load, headers=mine, content=body)
            assert (answer.status_code, answer.json()) == (200, {"name": "tiny", "ready": True})


def test_compressed_bodies_get_415(client: TestClient) -> None:
    for encoding in ("gzip", "deflate"):
        assert infer(client, b"x", content_encoding=encoding).status_code == 415
    assert infer(client, {"inputs": [GOOD]}, content_encoding="identity", accept_encoding="gzip").status_code == 200
