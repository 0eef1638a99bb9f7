"""The GPU's benchmark: its parts in tiny sizes on the CPU, the Triton kernels in Triton's interpreter."""

import os
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.common import report

os.environ.setdefault("TRITON_INTERPRET", "1")  # read when Triton is first imported
CPU = torch.device("cpu")


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, list[list[str | float]]]]:
    """What the parts note."""
    noted: list[dict[str, list[list[str | float]]]] = []
    monkeypatch.setattr(report, "_tables", noted)
    return noted


def test_neurons_are_compared_and_timed(tables: list[dict], monkeypatch: pytest.MonkeyPatch) -> None:
    fused_triton = pytest.importorskip("spikesight.models.neurons.fused_triton", reason="Triton is not installed")
    monkeypatch.setattr("spikesight.models.neurons.fused._passes", lambda _: fused_triton)
    gpu.compare_neurons(CPU, (3, 2, 4, 3, 3), 1)
    same, forward, both = tables
    assert [words for _, words in same["rows"] if not words.startswith("0 of 216 spikes differ")] == []
    assert all(float(words.rpartition(" ")[2]) < 1e-6 for _, words in same["rows"])
    for table in (forward, both):
        assert table["rows"][-1][0] == "Triton kernels (ours)"
        assert not any(row[-1] for row in table["rows"])


def test_a_training_step_and_inference_are_timed(tables: list[dict]) -> None:
    gpu.compare_training(CPU, 2, 1, 1, ("ours, float32", "ours, bfloat16, channels last"))
    gpu.compare_inference(CPU, 32, 1, 2, 1)
    for table in tables:
        assert len(table["rows"]) >= 2
        assert not any(row[-1] for row in table["rows"]), table["rows"]


def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    assert gpu.check_resume(CPU, gpu.write_pictures(tmp_path / "pictures"))
