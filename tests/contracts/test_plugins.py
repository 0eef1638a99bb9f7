"""A foreign package, built and installed as its users would, adds one of each kind of plug-in."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT

PACKAGE = ROOT / "tests" / "support" / "plugin_package"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """PYTHONPATH with the package installed, from its source, without a network."""
    pytest.importorskip("setuptools", reason="setuptools builds the sample package: pip install 'spikesight[dev]'")
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(PACKAGE, folder / "source")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-index", "--no-deps"]
    target = folder / "site"
    done = subprocess.run(
        [*pip, "--no-build-isolation", "--target", target, folder / "source"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return os.pathsep.join([str(target), str(ROOT)])


USE = """
from pathlib import Path
import numpy as np, torch
from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.recordings.files import read_recording, write_recording
from spikesight.encoders.sources.source import open_source
from spikesight.models.checkpoint import load, save
from spikesight.models.contract import Card, Contract
from spikesight.training.config import TrainConfig
from spikesight.training.data import list_data
from spikesight.training.network import build_network

import sys
assert "blinking_lights" not in sys.modules, "loaded before it is needed"
for label, x in (("left", 2), ("right", 13)):
    Path("corners", label).mkdir(parents=True)
    for n in range(4):
        t = np.arange(50) * 1000 + n
        events = make_events(t, np.full(50, x), np.full(50, 8), t % 2 == 0)
        write_recording(Path("corners", label, f"{n}.lights"), events, SensorSize(16, 16))
read = read_recording("corners/left/0.lights")
assert (read.format, len(read.events)) == ("lights", 50)
listing = list_data(TrainConfig(data="corners", root="."))
assert (listing.labels, len(listing.train)) == (("left", "right"), 8)
with open_source("lights:") as source:
    assert sum(len(packet) for packet in source.packets() if packet is not None) == 3
assert sum(p.numel() for p in build_network(TrainConfig(network="lights-tiny"), 2).parameters())
from blinking_lights import Mlp, MlpConfig
contract = Contract("events", 2, 16, 16, 4, "binary", 16, 16, 5_000)
torch.manual_seed(0)
save("mlp", Mlp(MlpConfig(512)), Card(contract, ("left", "right")))
from spikesight.service.sinks.delivery import open_deliveries
(delivery,) = open_deliveries(["bell:rung"])
delivery.post({"label": "left"})
delivery.close()
assert Path("rung").read_text() == "."
from spikesight.app.cli import main
assert main(["models"]) == 0
print("used")
"""
SERVE = """
from pathlib import Path
from fastapi.testclient import TestClient
from spikesight.service.api import create_app
from spikesight.service.settings import Settings
with TestClient(create_app(Settings(models=("mlp",), deadline_s=60)), "http://127.0.0.1") as client:
    answer = client.post("/v1/predict", content=Path("corners/left/0.lights").read_bytes())
    refused = client.post("/v1/predict", content=b"BLINKING")
print(answer.text)
assert answer.json()["n_events"] == 50
assert (refused.status_code, "lights" in refused.json()["error"]) == (415, True)
"""


def test_a_foreign_package_adds_one_of_each_without_a_fork(path: str, tmp_path: Path) -> None:
    def run(code: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": path}
        return subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    used = run(USE)
    *networks, last = used.stdout.splitlines() or [""]
    assert last == "used", used.stderr
    assert [line for line in networks if line.startswith("lights-tiny ")], "the names of networks are listed"
    warned = [line for line in used.stderr.splitlines() if "plug-in" in line]
    assert len(warned) == 3
    assert "the plug-in nowhere of blinking-lights 1.2 is left out: AttributeError" in used.stderr
    assert "the plug-in file of blinking-lights 1.2 is left out: that name is taken" in used.stderr
    assert "blinking_lights:SIDE is a int, not a Callable" in used.stderr
    served = run(SERVE)  # a new process: the checkpoint's kind alone leads to the package
    assert served.returncode == 0, served.stdout + served.stderr
