"""Several processes compute what one does: losses, weights and statistics; checkpoints pass from one to the other."""

import json
import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor, nn

from spikesight.training.config import TrainConfig
from spikesight.training.distributed import ManyProcesses, Processes, SyncNorm, join_processes, synchronise_norms
from spikesight.training.flags import to_yaml
from spikesight.training.run.fit import fit
from tests.support.inputs.data_sets import small_config, write_nmnist

PATIENCE_S = 1200  # two processes that import PyTorch and train, on a machine that is busy with other tests
OURS_ALONE = ("ACCELERATE_", "GLOO_", "GROUP_", "LOCAL_", "MASTER_", "OMP_", "RANK", "ROLE_", "TORCHELASTIC_", "WORLD_")


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


@pytest.mark.parametrize("momentum", [0.1, None])
def test_a_norm_of_two_processes_is_batch_norm_over_both_batches(
    momentum: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    plain = nn.BatchNorm2d(3, momentum=momentum)
    nn.init.uniform_(plain.weight, 0.5, 1.5)
    nn.init.normal_(plain.bias)
    synced = nn.Sequential(deepcopy(plain))
    synchronise_norms(synced)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "all_reduce", lambda tensor: tensor.mul_(2))  # the other process has the same batch
    x = torch.zeros(0)
    for _ in range(2):
        x = (2 * torch.randn(4, 3, 2, 3) + 1).requires_grad_()
        both = torch.cat([x.detach()] * 2).requires_grad_()
        weights = torch.randn_like(x)
        ours, theirs = synced(x), plain(both)
        (ours * weights).sum().backward()
        (theirs * torch.cat([weights] * 2)).sum().backward()
        assert x.grad is not None
        assert both.grad is not None
        torch.testing.assert_close(ours, theirs[:4])
        torch.testing.assert_close(x.grad, both.grad[:4], rtol=1e-4, atol=1e-5)
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(synced[0].state_dict()[name], tensor, msg=name)
    monkeypatch.setattr(dist, "all_reduce", None)
    torch.testing.assert_close(synced.eval()(x), plain.eval()(x), msg="evaluation asks nobody")


class Joined:
    """What Accelerate is of the second of two processes."""

    device, process_index, num_processes = torch.device("cpu"), 1, 2

    def __init__(self, **settings: object) -> None:
        assert settings["cpu"] is True
        assert settings["mixed_precision"] == "no"
        assert [handler.broadcast_buffers for handler in settings["kwargs_handlers"]] == [False]  # type: ignore[attr-defined]
        self.done: list[str] = []

    def prepare_model(self, module: nn.Module) -> nn.Module:
        return nn.Sequential(module)

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def reduce(self, tensor: Tensor, how: str) -> Tensor:
        assert how == "sum"
        return 2 * tensor

    def gather(self, tensor: Tensor) -> Tensor:
        assert tensor.is_contiguous()
        return torch.cat([tensor, tensor])

    def wait_for_everyone(self) -> None:
        self.done.append("waited")

    def end_training(self) -> None:
        self.done.append("ended")


def test_the_second_of_two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelerate.Accelerator", Joined)
    monkeypatch.setenv("WORLD_SIZE", "2")
    cpu = torch.device("cpu")
    with pytest.raises(ValueError, match="--batch-size 5 must be a multiple of the 2 processes"):
        join_processes(TrainConfig(batch_size=5), cpu)
    processes = join_processes(TrainConfig(batch_size=4), cpu)
    assert (processes.rank, processes.world, processes.main) == (1, 2, False)
    x = torch.arange(8.0).view(2, 4)
    assert processes.share(x).tolist() == [[4, 5, 6, 7]]
    assert processes.share(x, 1).tolist() == [[2, 3], [6, 7]]
    assert torch.equal(processes.sum(x), 2 * x)
    assert torch.equal(processes.gather(x.T), torch.cat([x.T, x.T]))
    wrapped = processes.wrap(nn.Sequential(nn.BatchNorm2d(2)))
    assert isinstance(wrapped[0][0], SyncNorm)  # type: ignore[index]
    loss = torch.ones(1, requires_grad=True)
    processes.backward(loss)
    assert loss.grad is not None
    processes.wait()
    processes.close()
    assert isinstance(processes, ManyProcesses)
    assert processes._accelerator.done == ["waited", "ended"]  # type: ignore[attr-defined]
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert type(join_processes(TrainConfig(batch_size=5), cpu)) is Processes


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
