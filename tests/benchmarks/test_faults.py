"""What a benchmark measured is kept as what it is; faults do what their names say."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.common import faults, report
from benchmarks.common.faults import SUITE, Corruption, Fault
from benchmarks.common.rates import at_rate, norms_before
from benchmarks.corruptions import Row, corrupted, rows, summary, unchanged
from spikesight.encoders.emulator.saccades import NMNIST, saccades
from spikesight.encoders.events import NMNIST_SENSOR, Events, SensorSize, empty_events, make_events
from spikesight.models.classifier import Classifier
from spikesight.models.networks.metering import Meter
from spikesight.models.networks.resnet import ResNetConfig, SpikingResNet
from spikesight.models.neurons.layers import Neuron
from spikesight.training.data.images import find_idx, read_idx
from spikesight.training.data.sets import Item
from spikesight.training.run.readings import Source
from tests.support.inputs.data_sets import write_idx, write_takes
from tests.support.models import tiny

SENSOR = SensorSize(40, 34)


def recording(count: int = 6000, span_us: int = 300_000) -> Events:
    """Events in a square of 12 pixels about the sensor's middle, evenly in time."""
    random = np.random.default_rng(0)
    t = np.sort(random.integers(0, span_us, count))
    return make_events(t, random.integers(14, 26, count), random.integers(11, 23, count), random.random(count) < 0.5)


EVENTS = recording()


def run(fault: Fault, events: Events = EVENTS, seed: int = 1) -> Events:
    return fault(events, SENSOR, np.random.default_rng(seed))


@pytest.mark.parametrize("row", SUITE, ids=lambda row: f"{row.name} {row.strength}")
def test_what_comes_out_is_a_recording_and_what_went_in_stays(row: Corruption) -> None:
    before = EVENTS.copy()
    made = run(row.fault)
    assert np.array_equal(EVENTS, before)
    assert made.dtype == EVENTS.dtype
    assert len(made)
    assert not np.array_equal(made, EVENTS)
    assert (np.diff(made["t"]) >= 0).all()
    assert made["x"].min() >= 0
    assert made["x"].max() < SENSOR.width
    assert made["y"].min() >= 0
    assert made["y"].max() < SENSOR.height
    assert np.array_equal(made, run(row.fault)), "the same seed, the same events"
    assert len(run(row.fault, empty_events())) == 0, "nothing stays nothing"


@pytest.mark.parametrize(
    ("fault", "added"),
    [
        (partial(faults.light_step, share=0.8), 0.8 * 1360),
        (partial(faults.noise, hz=20), 20 * 0.3 * 1360),
        (partial(faults.noise, hot=0.03), 41 * 500 * 0.3),
    ],
)
def test_what_is_added_is_as_much_as_named(fault: Callable[..., Events], added: float) -> None:
    made = run(fault)
    assert len(made) - len(EVENTS) == pytest.approx(added, rel=0.1)


def test_the_first_row_is_the_recordings_as_they_are_and_every_fault_has_one(tmp_path: Path) -> None:
    write_takes(tmp_path, names := ["one.npz", "two-1.npz", "two-2.npz"], 0.5)
    sources = [Source(Item(tmp_path / name, 0), name[:3]) for name in names]
    classifier: Classifier = tiny()
    suite = [Row("nothing at all", "", unchanged), *rows("a folder", "nowhere", sources)[:2]]
    clean, same, *others = corrupted(classifier, sources, suite)
    assert (clean["name"], clean["right"]["count"], clean["best_guess"]["count"]) == ("none", 3, 3)
    assert {**same, "name": "none"} == clean
    assert [row["strength"] for row in others] == [fault.strength for fault in SUITE[:2]]


def test_what_a_corruption_costs_is_counted_in_both_columns() -> None:
    def row(name: str, right: float, guess: float) -> dict:
        return {"name": name, "strength": "", "right": {"accuracy": right}, "best_guess": {"accuracy": guess}}

    figures = [row("none", 0.9, 1.0), row("noise", 0.1, 0.9), row("shake", 0.5, 0.7), row("mirrored", 0.0, 0.0)]
    worst = {"name": "noise", "strength": "", "accuracy": 0.1}
    assert summary(figures) == {"mean_loss": 60.0, "guess_loss": 20.0, "worst": worst}


def test_digits_are_emulated_anew_where_their_images_are(tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist", test=6)
    test = [Source(Item(tmp_path / f"{60_001 + n}.bin", 0), "0") for n in (4, 2)]
    found = [row for row in rows("nmnist", str(tmp_path), test) if row.name == "emulated threshold"]
    assert [row.strength for row in found] == ["0.1", "0.2", "0.3", "0.4", "0.5"]
    counts = [len(row.change(0, empty_events(), NMNIST_SENSOR)) for row in found]
    assert counts == sorted(counts, reverse=True), "the higher the threshold, the fewer the events"
    image = read_idx(find_idx(tmp_path, "mnist", "t10k-images-idx3-ubyte"))[4]
    camera = replace(NMNIST, threshold_on=0.3, threshold_off=0.3)
    expected = saccades(image, NMNIST_SENSOR, movement=camera, seed=0)
    assert np.array_equal(found[2].change(0, empty_events(), NMNIST_SENSOR), expected), "60005.bin is the fifth image"
    assert not [row for row in rows("nmnist", str(tmp_path / "none"), test) if row.name == "emulated threshold"]
    odd = [Source(Item(tmp_path / "mine.bin", 0), "0")]
    assert not [row for row in rows("nmnist", str(tmp_path), odd) if row.name == "emulated threshold"]


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
