"""What the tests of exported networks share: a small network's card and settings."""

from dataclasses import replace

import pytest

from spikesight.models.contract import Card, Contract
from spikesight.models.networks.resnet import NETWORKS

CONTRACT = Contract("events", 2, 17, 13, 4, "binary", 34, 26, 10_000)
CARD = Card(CONTRACT, ("a", "b", "c"))
CONFIG = replace(NETWORKS["event-small"], depths=(1, 1), widths=(8, 16), classes=3)


def require_onnx() -> None:
    """Skip where the packages that write and run ONNX are absent."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
