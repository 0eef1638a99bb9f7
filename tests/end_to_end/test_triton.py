"""Triton's own HTTP client against a real server: what passes here works with tools built on it."""

from collections.abc import Iterator

import numpy as np
import pytest

from tests.support.inputs.samples import picture
from tests.support.models import EVENT_CONTRACT, LABELS, tiny
from tests.support.serving.servers import running
from tests.support.waiting import until

pytest.importorskip("tritonclient.http", reason="tritonclient is not installed: pip install 'spikesight[dev]'")
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult

SHAPE = (EVENT_CONTRACT.channels, EVENT_CONTRACT.height, EVENT_CONTRACT.width)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(classifiers=(tiny(),)) as port:
        yield port


@pytest.fixture
def triton(port: int) -> Iterator[InferenceServerClient]:
    client = InferenceServerClient(f"127.0.0.1:{port}", concurrency=4)
    yield client
    client.close()


def value(answer: InferResult, name: str) -> np.ndarray:
    """An output that must be there."""
    found = answer.as_numpy(name)
    assert found is not None
    return found


def x_of(n: int = 1, t: int = 3) -> np.ndarray:
    return (np.random.default_rng(0).random((n, t, *SHAPE)) < 0.2).astype(np.float32)


def image() -> list[InferInput]:
    given = InferInput("image", [1], "BYTES")
    given.set_data_from_numpy(np.array([picture()], object))
    return [given]


def steps(x: np.ndarray, *, binary: bool = True) -> list[InferInput]:
    given = InferInput("x", list(x.shape), "FP32")
    given.set_data_from_numpy(x, binary_data=binary)
    return [given]


def test_server_and_models(triton: InferenceServerClient) -> None:
    assert triton.is_server_live()
    until(triton.is_server_ready, "models and decoders are warm")
    assert triton.is_model_ready("tiny")
    assert triton.is_model_ready("tiny", "1")
    assert not triton.is_model_ready("none")
    server = triton.get_server_metadata()
    assert (server["name"], "binary_tensor_data" in server["extensions"]) == ("spikesight", True)
    assert triton.get_model_metadata("tiny")["inputs"][0]["datatype"] == "BYTES"
    assert triton.get_model_config("tiny.steps")["max_batch_size"] == 0
    assert [entry["name"] for entry in triton.get_model_repository_index()] == ["tiny", "tiny.steps"]


def test_images_together_each_with_its_answer(triton: InferenceServerClient) -> None:
    waiting = [triton.async_infer("tiny", image(), request_id=str(n)) for n in range(6)]
    answers = [one.get_result() for one in waiting]
    assert [answer.get_response()["id"] for answer in answers] == [str(n) for n in range(6)]
    assert all(np.allclose(value(one, "logits"), value(answers[0], "logits"), rtol=1e-4) for one in answers)
    assert value(answers[0], "label")[0].decode() in LABELS
    ranked = triton.infer("tiny", image(), outputs=[InferRequestedOutput("probabilities", class_count=2)])
    probability, index, label = value(ranked, "probabilities")[0, 0].decode().split(":")
    assert float(probability) == pytest.approx(value(answers[0], "probabilities").max(), rel=1e-3)
    assert LABELS[int(index)] == label
    (stats,) = triton.get_inference_statistics("tiny")["model_stats"]
    counts = stats["inference_stats"]
    assert counts["success"]["count"] == counts["queue"]["count"] == counts["compute_infer"]["count"] >= 7


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_steps_in_every_form(triton: InferenceServerClient, binary_in: bool, binary_out: bool) -> None:
    wishes = [InferRequestedOutput(name, binary_data=binary_out) for name in ("logits", "label")]
    answer = triton.infer("tiny.steps", steps(x_of(2), binary=binary_in), outputs=wishes)
    everything = triton.infer("tiny.steps", steps(x_of(2), binary=binary_in))
    np.testing.assert_allclose(value(answer, "logits"), value(everything, "logits"), rtol=1e-5)
    assert answer.as_numpy("probabilities") is None
    assert value(everything, "synops").dtype == np.int64
