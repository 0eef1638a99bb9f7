"""The registry says what it does while models load, and which of them will be slow."""

import logging
from pathlib import Path

import pytest

from models.checkpoint import save
from models.networks.resnet import ResNetConfig, SpikingResNet
from service.http.metrics import Metrics
from service.scheduler.registry import SLOW, Registry
from service.scheduler.threads import Mailbox
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
