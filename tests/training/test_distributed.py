"""Several processes compute what one does: losses, weights and statistics; checkpoints pass from one to the other."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.support.inputs.data_sets import small_config, write_nmnist
from training.distributed import Processes, SyncNorm, synchronise_norms
from training.flags import to_yaml
from training.run.fit import fit


def torchrun(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`train-dvs` in two processes on this machine."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1",
        "--master-port", "0", "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "--no-python",
        str(Path(sys.executable).with_name("train-dvs")), *words,
    ]  # fmt: skip
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=300, check=False)


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_two_processes_compute_what_one_does(tmp_path: Path) -> None:
    root = write_nmnist(tmp_path)
    # SGD: Adam makes a full-size step of a gradient that is zero but for rounding.
    options: dict[str, object] = {"epochs": 2, "ema": 0.9, "lr": 0.05, "optimiser": "sgd", "carry": 0.0}
    one = fit(small_config(root, name="one", **options), root / "runs" / "one")
    (root / "two.yaml").write_text(to_yaml(small_config(root, name="two", **options)))
    result = torchrun(root, "--config", "two.yaml")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("test accuracy") == 1
    for ours, theirs in zip(rows(root / "runs" / "one"), rows(root / "runs" / "two")):
        for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "synops"):
            assert theirs[name] == pytest.approx(ours[name], abs=1e-5), name
    weights = [load_file(root / "runs" / name / "checkpoints" / "last.safetensors") for name in ("one", "two")]
    assert set(weights[0]) == set(weights[1])
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-3, atol=1e-5, msg=name)
    two = json.loads((root / "runs" / "two" / "result.json").read_text())
    assert two["test"]["accuracy"] == one["test"]["accuracy"]


def test_synchronised_norms_keep_names_tensors_and_single_process_results() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    x = torch.randn(4, 2, 6, 6)
    names, expected = list(net.state_dict()), net(x)
    synchronise_norms(net)
    assert isinstance(net[1], SyncNorm)
    assert list(net.state_dict()) == names
    torch.testing.assert_close(net(x), expected)


def test_one_process_is_the_identity() -> None:
    processes, x = Processes(torch.device("cpu")), torch.arange(3)
    assert processes.main
    assert torch.equal(processes.share(x), x)
    assert torch.equal(processes.sum(x), x)
    assert torch.equal(processes.gather(x), x)
    module = nn.Linear(1, 1)
    assert processes.wrap(module) is module
    processes.wait()
    processes.close()
