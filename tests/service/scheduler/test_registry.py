"""The registry says what it does while models load, and which of them will be slow."""

import logging
from pathlib import Path

import pytest
import torch

from spikesight.models.checkpoint import save
from spikesight.models.classifier import Classifier
from spikesight.models.networks.resnet import ResNetConfig, SpikingResNet
from spikesight.service.http.errors import Overloaded
from spikesight.service.http.metrics import Metrics
from spikesight.service.scheduler.registry import SLOW, NotLoaded, Registry, UnknownModel
from spikesight.service.scheduler.threads import Mailbox
from tests.support.models import tiny
from tests.support.serving.servers import settings


def test_loading_names_each_model_and_warns_of_slow_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("spikesight"), "propagate", True)
    made = tiny()
    beyond = ResNetConfig("ms", (1, 1), (4, 8), pool="max", classes=len(made.labels), spiking_readout=True)
    save(tmp_path / "beyond", SpikingResNet(beyond), made.card)
    registry = Registry(settings(models=(str(tmp_path / "beyond"),)), Metrics(), Mailbox())
    with caplog.at_level(logging.INFO, "spikesight"):
        registry.load()
    registry.stop()
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said == [("INFO", "model ready"), ("WARNING", SLOW), ("INFO", "models loaded")]


def bias(classifier: Classifier) -> float:
    return float(classifier.network.get_parameter("readout.bias").detach()[0])


def test_a_model_that_is_loaded_again_is_what_lies_there_now(tmp_path: Path) -> None:
    made = tiny()
    save(tmp_path / "one", made.network, made.card)
    registry = Registry(settings(models=(str(tmp_path / "one"),)), Metrics(), Mailbox())
    registry.load()
    registry.serve(tiny(name="of-memory"))
    old = registry.get("one")
    with torch.no_grad():
        made.network.get_parameter("readout.bias").fill_(7.0)
    save(tmp_path / "one", made.network, made.card)
    registry.load_again("one")
    fresh = registry.get("one")
    assert fresh is registry.get(None)
    assert (bias(old.classifier), bias(fresh.classifier)) == (pytest.approx(bias(tiny())), 7.0)
    assert fresh.scheduler._thread.is_alive()
    old.scheduler._thread.join(30)
    assert not old.scheduler._thread.is_alive(), "it was retired"
    (tmp_path / "one" / "model.safetensors").write_bytes(b"cut")
    for name, refusal, status in (("one", NotLoaded, 409), ("of-memory", NotLoaded, 409), ("two", UnknownModel, 404)):
        with pytest.raises(refusal) as caught:
            registry.load_again(name)
        assert (caught.value.status, len(str(caught.value)) > 20) == (status, True)
    assert registry.get("one") is fresh
    with registry._loading, pytest.raises(Overloaded):
        registry.load_again("one")
    registry.stop()
