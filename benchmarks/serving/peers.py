"""LitServe and BentoML serve the same model with the same decoding, in batches of eight; for load.py.

    python benchmarks/serving/peers.py litserve|bentoml MODEL PORT

Run it by an interpreter that has them. Model, decoding and batched steps are ours, so that only the server differs.
Both take one image a request: LitServe as a multipart upload, BentoML as base64 in JSON.
"""

import base64
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from fastapi import UploadFile

from spikesight.models.classifier import Classifier
from spikesight.models.statistics import softmax
from spikesight.service.upload.decode import decode

Base: Any = object
with suppress(ImportError):
    from litserve import LitAPI

    Base = LitAPI

BATCH = 8
MAX_PIXELS = 2**24


class Bare:
    """The model with its decoding, without a server."""

    def __init__(self, model: str) -> None:
        torch.set_num_threads(1)
        self.classifier = Classifier.load(model)

    def decode(self, data: bytes) -> list[Any]:
        """Decode the bytes of one image and encode it as time steps."""
        return self.classifier.inputs(decode(data, "", MAX_PIXELS))

    def predict(self, samples: list[list[Any]]) -> list[dict[str, Any]]:
        """Classify a batch of encoded images; return one answer each."""
        classifier = self.classifier
        state = classifier.initial_state(len(samples))
        logits = []
        for steps in zip(*samples):
            result = classifier.step(torch.from_numpy(np.stack([given.x for given in steps])), state)
            state = result.state
            logits.append(result.logits.numpy())
        answers = []
        for own in np.stack(logits, 1):
            probabilities = softmax(own.mean(0, dtype=np.float64))
            index = int(probabilities.argmax())
            answers.append({"label": classifier.labels[index], "index": index, "probabilities": probabilities.tolist()})
        return answers


class Api(Base):  # at module level: LitServe's spawned workers import it again
    """The model behind LitServe's interface."""

    model = ""

    def setup(self, device: str) -> None:
        del device
        self.bare = Bare(self.model)

    def decode_request(self, request: UploadFile) -> list[Any]:
        return self.bare.decode(request.file.read())

    def batch(self, inputs: list[Any]) -> list[Any]:
        return inputs

    def predict(self, x: list[Any]) -> list[dict[str, Any]]:
        return self.bare.predict(x)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


def litserve(model: str, port: int) -> None:
    """Run LitServe with one worker and batches of up to eight."""
    import litserve as ls

    api = Api(max_batch_size=BATCH, batch_timeout=0.001)
    api.model = model
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="error", access_log=False)


def bentoml_service(model: str) -> Any:
    """Return a BentoML service with one worker and adaptive batching of up to eight."""
    import bentoml

    @bentoml.service(workers=1, traffic={"timeout": 60, "max_concurrency": 256}, logging={"access": {"enabled": False}})
    class Served:
        def __init__(self) -> None:
            self.bare = Bare(model)

        @bentoml.api(batchable=True, max_batch_size=BATCH, max_latency_ms=60_000)
        def predict(self, images: list[str]) -> list[dict[str, Any]]:
            return self.bare.predict([self.bare.decode(base64.b64decode(one)) for one in images])

    return Served


if __name__ == "__main__":
    if sys.argv[1] == "litserve":
        litserve(sys.argv[2], int(sys.argv[3]))
elif "BENTO_MODEL" in os.environ:
    Served = bentoml_service(os.environ["BENTO_MODEL"])
