"""What a benchmark measured is kept with its processor, as what it says it is, and no server is left behind."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.common import report
from benchmarks.common.rates import at_rate, norms_before
from spikesight.models.networks.metering import Meter
from spikesight.models.networks.resnet import ResNetConfig, SpikingResNet
from spikesight.models.neurons.layers import Neuron


def test_a_repeated_table_replaces_its_own_and_keeps_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [str(report.ROOT / "benchmarks" / "engine.py")])
    file = tmp_path / "some" / "engine.json"
    for title, value in (("one", 1.23456), ("two", 2.0), ("one", 3.0)):
        report.table(title, "variant", "ms")
        report.row("engine", value)
        assert report.write("engine", file) == file
        kept = json.loads(file.read_text())
        assert kept["tables"][-1]["rows"] == [["engine", float(f"{value:.4g}")]]
    assert [table["title"] for table in kept["tables"]] == ["two", "one"]
    assert kept["benchmark"] == "engine"
    assert kept["processor"]
    assert {"date", "command", "threads", "load", "versions"} <= kept["tables"][0].keys()


def test_every_result_in_the_repository_is_readable_and_names_no_machine() -> None:
    files = sorted(report.RESULTS.glob("*.json"))
    assert files
    for file in files:
        text = file.read_text()
        kept = json.loads(text)
        assert file.stem == f"{kept['benchmark']}-{report.slug(kept['processor'])}"
        assert not [word for word in ("/work/", "/root/", "/home/", "/tmp/") if word in text]
        for table in kept["tables"]:
            assert all(len(row) == len(table["columns"]) for row in table["rows"]), table["title"]


INTERRUPTED = """
import sys
from benchmarks.serving.clients import Served, free_port
port = free_port()
listens = f"import socket; server = socket.create_server(('127.0.0.1', {port})); server.accept(); server.accept()"
print(Served([sys.executable, "-c", listens], port).process.pid, flush=True)
raise KeyboardInterrupt
"""


def test_an_interrupted_benchmark_ends_its_server() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], cwd=report.ROOT, capture_output=True, text=True)
    assert "KeyboardInterrupt" in done.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


@pytest.mark.parametrize("block", ["plain", "sew", "ms"])
@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("rate", [0.05, 0.4])
def test_every_layer_fires_at_the_rate(block: str, bottleneck: bool, rate: float) -> None:
    torch.manual_seed(0)
    config = ResNetConfig(block, (1, 2), (16, 32), bottleneck=bottleneck, in_channels=3)  # type: ignore[arg-type]
    network = SpikingResNet(replace(config, neuron=replace(config.neuron, reset="zero", delay=False)))
    x_seq = torch.randn(4, 2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    assert norms_before(network).keys() == {id(m) for m in network.modules() if isinstance(m, Neuron)}
    reached = at_rate(network, x_seq, rate)
    assert all(abs(r - rate) < 0.02 for r in reached)
    meter, sizes = Meter(network), list[int]()
    for module in network.modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda _, __, spikes: sizes.append(spikes.numel()))
    with torch.inference_mode():
        network(x_seq)
    rates = meter.read().layer_spikes.sum(0)
    order = sum(int(spikes) for spikes in rates) / sum(sizes)  # the same, evaluated with its running statistics
    assert abs(order - rate) < 0.05
