"""Attacks by model files (docs/service/security.md): refused before anything in them runs."""

import json
import struct
from pathlib import Path

import pytest

from spikesight.models.checkpoint import load
from spikesight.models.contract import CheckpointError
from spikesight.models.shipped import find
from tests.support.models import kept


@pytest.mark.attack(
    "model files", "pickle; huge header, wrong shapes, extra keys; config with path or code fields", "refused"
)
def test_hostile_model_files_are_refused(tmp_path: Path) -> None:
    good = kept(tmp_path / "good")
    config, weights = json.loads((good / "config.json").read_text()), (good / "model.safetensors").read_bytes()

    def refused(document: object, data: bytes) -> None:
        folder = tmp_path / "bad"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(document if isinstance(document, str) else json.dumps(document))
        (folder / "model.safetensors").write_bytes(data)
        with pytest.raises(CheckpointError):
            load(folder)

    refused(config, b"\x80\x04\x95pickle.")
    refused(config, struct.pack("<Q", 2**60) + b"{}")
    refused(config, weights[:-5])
    refused(config, b"")
    refused("{", weights)
    refused({**config, "code": "import os"}, weights)
    refused({**config, "kind": "/etc/passwd"}, weights)
    refused({**config, "kind": "os.system"}, weights)
    network = config["network"]
    refused({**config, "network": {**network, "classes": network["classes"] + 1}}, weights)
    refused({**config, "network": {**network, "auto_map": "x.py"}}, weights)
    with pytest.raises(CheckpointError):
        find("../../etc")
