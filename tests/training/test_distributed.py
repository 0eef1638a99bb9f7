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

from spikesight.training.config import TrainConfig
from spikesight.training.distributed import Processes, SyncNorm, join_processes, synchronise_norms
from spikesight.training.flags import to_yaml
from spikesight.training.run.fit import fit
from tests.support.inputs.data_sets import small_config, write_nmnist

PATIENCE_S = 1200  # two processes that import PyTorch and train, on a machine that is busy with other tests
OURS_ALONE = ("GLOO_", "GROUP_", "LOCAL_", "MASTER_", "OMP_", "RANK", "ROLE_", "TORCHELASTIC_", "WORLD_")


def trained_by_two(root: Path, config: TrainConfig) -> str:
    """What `train-dvs` says in two processes."""
    (root / f"{config.name}.yaml").write_text(to_yaml(config))
    command = [*TORCHRUN, str(Path(sys.executable).with_name("train-dvs")), "--config", f"{config.name}.yaml"]
    env = {name: value for name, value in os.environ.items() if not name.startswith(OURS_ALONE)}
    env |= {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0"}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


TORCHRUN = (
    sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d",
    "--rdzv-endpoint", "127.0.0.1:0", "--rdzv-conf", "read_timeout=600", "--no-python",
    "--local-addr", "127.0.0.1",  # else the machine's name, which need not resolve
)  # fmt: skip


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_synchronised_norms_keep_names_tensors_and_single_process_results() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    x = torch.randn(4, 2, 6, 6)
    names, expected = list(net.state_dict()), net(x)
    synchronise_norms(net)
    assert isinstance(net[1], SyncNorm)
    assert list(net.state_dict()) == names
    torch.testing.assert_close(net(x), expected)


def test_each_process_has_its_share_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, x = torch.device("cpu"), torch.arange(8.0).view(2, 4)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="--batch-size 5 must be a multiple of the 2 processes"):
        join_processes(TrainConfig(batch_size=5), cpu)
    processes = Processes(cpu, 1, 2)
    assert not processes.main
    assert processes.share(x).tolist() == [[4, 5, 6, 7]]
    assert processes.share(x, 1).tolist() == [[2, 3], [6, 7]]
    monkeypatch.setenv("WORLD_SIZE", "1")
    alone = join_processes(TrainConfig(batch_size=5), cpu)
    assert alone.main
    assert torch.equal(alone.share(x), x)


@pytest.mark.usefixtures("no_curves")
def test_two_processes_compute_what_one_does(tmp_path: Path) -> None:
    root = write_nmnist(tmp_path)
    # SGD: Adam makes a full-size step of a gradient that is zero but for rounding.
    options: dict[str, object] = {"epochs": 2, "ema": 0.9, "lr": 0.05, "optimiser": "sgd", "carry": 0.0}
    fit(small_config(root, name="one", **options), root / "runs" / "one")
    said = trained_by_two(root, small_config(root, name="two", **options))
    assert said.count("test accuracy") == 1
    for ours, theirs in zip(rows(root / "runs" / "one"), rows(root / "runs" / "two")):
        for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "synops"):
            assert theirs[name] == pytest.approx(ours[name], abs=1e-5), name
    weights = [load_file(root / "runs" / name / "checkpoints" / "last.safetensors") for name in ("one", "two")]
    assert set(weights[0]) == set(weights[1])
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-3, atol=1e-5, msg=name)
    one, two = (json.loads((root / "runs" / name / "result.json").read_text()) for name in ("one", "two"))
    assert two["test"]["accuracy"] == one["test"]["accuracy"]
