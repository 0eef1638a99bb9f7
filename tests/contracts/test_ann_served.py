"""An ANN goes wherever a spiking network goes: steps, the service, streams; it says that it does not spike."""

import json

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient

from spikesight.models.classifier import Classifier
from spikesight.models.contract import Card, Contract
from spikesight.models.networks.ann import as_ann
from spikesight.service.api import create_app
from spikesight.service.stream.messages import Frame
from tests.support.inputs.samples import picture
from tests.support.models import ann
from tests.support.serving.servers import settings

CONTRACT = Contract("image", 1, 12, 12, 1, "direct", mean=(0.2,), std=(0.4,))
CARD = Card(CONTRACT, ("a", "b", "c"))


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(ann(), CARD, "relu")


def test_one_pass_every_multiply_add_no_spike(classifier: Classifier) -> None:
    image = np.random.default_rng(0).integers(0, 256, (12, 12), np.uint8)
    (only,) = classifier.predict_image(image)
    assert (classifier.origin, classifier.layer_names) == ("ann", ())
    assert (only.step, only.spikes, only.synops) == (1, 0, classifier.ann_macs)
    with torch.no_grad():
        expected = as_ann(classifier.network)((torch.from_numpy(image)[None, None] / 255 - 0.2) / 0.4)
    torch.testing.assert_close(torch.tensor(only.logits), expected[0])


def test_the_service_runs_it(classifier: Classifier) -> None:
    with TestClient(create_app(settings(), (classifier,))) as client:
        answer = client.post("/v1/predict?steps=1", content=picture()).json()
        assert answer["spikes"] == 0
        assert answer["synops"] == classifier.ann_macs
        assert len(answer["steps"]) == 1
        (body,) = client.get("/v1/models").json()["models"]
        assert body["origin"] == "ann"
        assert body["layers"] == []
        refused = client.post("/v1/predict?name=a.bin", content=bytes(50))
        assert refused.status_code == 400
        assert "takes images" in refused.json()["error"]
        with client.websocket_connect("/v1/stream") as socket:
            socket.send_text(json.dumps({"type": "hello", "protocol": 1, "width": 40, "height": 30, "probe": True}))
            assert socket.receive_json()["maps"] == []
            socket.send_bytes(Frame(1, 5.0, 0, picture(".jpg")).pack())
            said = socket.receive_json()
            assert said["synops"] == classifier.ann_macs
            assert "inside" not in said, "nobody could see a thing"
