"""A converted network's graph: untrusted ones are refused."""

from pathlib import Path

import pytest
from torch import Tensor, nn

from spikesight.models.checkpoint import load, save
from spikesight.models.contract import CheckpointError
from spikesight.models.conversion.ann_to_snn import convert
from tests.support.models import card


def test_untrusted_graphs_are_refused(resnet: nn.Module, images: Tensor, tmp_path: Path) -> None:
    import json

    save(tmp_path, convert(resnet, [images], "ours", steps=4), card())
    document = json.loads((tmp_path / "config.json").read_text())
    nodes = document["network"]["nodes"]
    for change in (
        {"op": "import os"},
        {"name": "x.y"},
        {"inputs": ["later"]},
        {"shape": [0, 0, 0, 0]},
        {"stride": [0, 1]},
        {"groups": -1},
        {"shape": [1 << 20, 1 << 20, 3, 3]},
    ):
        broken = json.loads(json.dumps(document))
        broken["network"]["nodes"][1] = {**nodes[1], **change}
        (tmp_path / "config.json").write_text(json.dumps(broken))
        with pytest.raises(CheckpointError):
            load(tmp_path)
