"""Whole runs: the loop learns, resumes to the bit after a kill, stops on NaN and on Ctrl-C, and schedules as said."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from spikesight.training.config import TrainConfig
from spikesight.training.data import load_data
from spikesight.training.distributed import Processes, choose_device
from spikesight.training.network import build_network
from spikesight.training.run.evaluate import Evaluation
from spikesight.training.run.fit import dry_run, fit, run_folder
from spikesight.training.run.loop import Run, TrainingError
from spikesight.training.run.resume import Progress
from tests.support.inputs.data_sets import small_config, write_takes
from tests.support.processes import ROOT

pytestmark = pytest.mark.usefixtures("no_curves")
CHILD = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.support.inputs.data_sets import small_config
from spikesight.training.run import fit, loop
step = loop.Run.train_batch
def dying(self, indices):
    if self.progress.step == {at}:
        os.kill(os.getpid(), {signal})
    return step(self, indices)
loop.Run.train_batch = dying
config = small_config(Path({data!r}), **{options!r})
fit.fit(config, Path(config.output) / config.name)
"""


def child(root: Path, at: int, number: signal.Signals, **options: object) -> subprocess.CompletedProcess[str]:
    """A run of its own process that gets a signal before its step `at`."""
    code = CHILD.format(root=str(ROOT), at=at, signal=int(number), data=str(root), options=options)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoints" / "last.safetensors")


@pytest.mark.parametrize("options", [{"carry": 0.5, "ema": 0.9, "save_minutes": 0.0}], ids=["carry-and-ema"])
def test_killed_in_mid_epoch_and_resumed_equals_never_stopped(root: Path, options: dict[str, float]) -> None:
    whole = fit(small_config(root, **options), root / "runs" / "whole")
    result = child(root, 4, signal.SIGKILL, name="killed", **options)
    assert result.returncode == -signal.SIGKILL, result.stderr
    folder = root / "runs" / "killed"
    stopped = json.loads(_counters(folder))
    assert (stopped["epoch"], stopped["batch"], stopped["step"]) == (1, 1, 4)
    resumed = fit(small_config(root, name="killed", **options), folder, resume=True)
    ours, theirs = weights(root / "runs" / "whole"), weights(folder)
    assert set(ours) == set(theirs)
    assert any(key.startswith("carry/") for key in ours)
    assert any(key.startswith("average/") for key in ours)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert resumed["test"] == whole["test"]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    expected = [json.loads(line) for line in (root / "runs" / "whole" / "metrics.jsonl").read_text().splitlines()]
    for row in (*rows, *expected):
        del row["seconds"]
    assert rows == expected


def _counters(folder: Path) -> str:
    from safetensors import safe_open

    with safe_open(folder / "checkpoints" / "last.safetensors", "pt") as file:
        return file.metadata()["counters"]


def test_ctrl_c_saves_and_stops(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config(root, save_minutes=99.0)
    run = Run(load_data(config), root / "runs" / "stopped")
    step = run.train_batch

    def interrupted(indices: object) -> tuple[float, int]:
        if run.progress.step == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return step(indices)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "train_batch", interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    assert signal.getsignal(signal.SIGINT) == before
    assert json.loads(_counters(root / "runs" / "stopped"))["step"] == 2


def test_a_loss_that_is_not_finite_stops_the_run(root: Path) -> None:
    config = small_config(root)
    run = Run(load_data(config), root / "runs" / "nan")
    with torch.no_grad():
        run.network.get_parameter("readout.bias").fill_(float("nan"))
    before = {
        k: v.clone() for k, v in run.network.state_dict().items() if "num_batches" not in k and "running" not in k
    }
    with pytest.raises(TrainingError, match="lower --lr"):
        run.train()
    after = run.network.state_dict()
    assert all(torch.equal(tensor.nan_to_num(), after[key].nan_to_num()) for key, tensor in before.items())


def test_it_learns(root: Path) -> None:
    config = small_config(root, epochs=14, lr=0.01, name="learns", shift=0, rotate=0.0, drop=0.0)
    metrics = fit(config, run_folder(config))
    assert metrics["val_accuracy"] == 1.0
    assert metrics["test"]["accuracy"] == 1.0


def test_the_same_seed_gives_the_same_run_and_another_seed_another(root: Path) -> None:
    losses = {dry_run(small_config(root, seed=seed)) for seed in (0, 0, 1)}
    assert len(losses) == 2


def test_unknown_network_and_missing_gpu_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown network"):
        build_network(TrainConfig(network="no"), 10)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no CUDA GPU"):
            choose_device("cuda")


def test_every_epoch_has_an_order_of_its_own(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(load_data(small_config(root)), root / "runs" / "orders")
    orders: list[list[int]] = []
    monkeypatch.setattr(run, "train_batch", lambda rows: (orders[-1].extend(rows.tolist()), (0.0, 0))[1])
    for _ in range(2):
        orders.append([])
        run.train_epoch()
        run.progress.next_epoch()
    assert len(orders[0]) == len(set(orders[0])) == len(orders[1])
    assert orders[0] != orders[1]


def test_of_equal_accuracies_the_lower_loss_is_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(load_data(small_config(root)), root / "runs" / "ties")
    losses = iter([0.5, 0.7, 0.3, 0.3])

    def measured(*_: object) -> Evaluation:
        return Evaluation(0.5, next(losses), 2, np.eye(2, dtype=np.int64), [0.5], {}, 0.0)

    monkeypatch.setattr("spikesight.training.run.loop.evaluate", measured)
    best = []
    for _ in range(4):
        run.progress.seen = run.progress.step = 1
        run.finish_epoch(0.0)
        best.append(run.progress.best_epoch)
    assert best == [0, 0, 2, 2]


def test_a_frozen_network_learns_its_last_layer_alone(root: Path) -> None:
    before = fit(small_config(root, name="first", epochs=1), root / "runs" / "first")
    assert before
    model = root / "runs" / "first" / "model"
    run = Run(load_data(small_config(root, freeze=True, init_from=str(model))), root / "runs" / "frozen")
    start = {name: tensor.clone() for name, tensor in run.network.state_dict().items()}
    run.train_epoch()
    changed = {name for name, tensor in run.network.state_dict().items() if not torch.equal(tensor, start[name])}
    assert changed
    assert all(name.startswith("readout") for name in changed)
    with pytest.raises(ValueError, match="--init-from"):
        small_config(root, freeze=True)


def test_a_folder_is_described_before_it_is_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_takes(tmp_path / "mine", ["train/cup.npz", "train/phone.npz", "test/cup.npz", "test/phone.npz"], 6)
    fit(small_config(tmp_path, data=str(tmp_path / "mine"), epochs=1, name="own"), tmp_path / "runs" / "own")
    said, _, rest = capsys.readouterr().out.partition("epoch 1/1")
    assert rest
    for words in (
        "layout flat: 2 classes",
        "cup: 2 recordings",
        "of the events are used",
        "validation:",
        "about 1 min",
    ):
        assert words in said


def test_the_time_is_told_without_a_change_to_the_run(root: Path) -> None:
    run = Run(load_data(small_config(root)), root / "runs" / "timed")
    before = {name: tensor.clone() for name, tensor in run.network.state_dict().items()}
    assert 0 < run.minutes() < 5
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.network.state_dict().items())
    assert all(parameter.grad is None for parameter in run.network.parameters())


@pytest.mark.parametrize(
    ("wish", "own", "weighted"),
    [("off", True, False), ("auto", False, False), ("auto", True, True), ("on", False, True), ("on", True, True)],
)
def test_rare_classes_count_more_in_a_folder_of_ones_own(wish: str, own: bool, weighted: bool) -> None:
    run = Run.__new__(Run)
    run.config, run.device = TrainConfig.of(class_weights=wish), torch.device("cpu")
    train = SimpleNamespace(labels=np.array([0, 0, 0, 1]))
    run.data = SimpleNamespace(notes=("a folder",) if own else (), train=train, labels=("a", "b"))  # type: ignore[assignment]
    weights = run._class_weights()
    assert (weights is not None) == weighted
    if weights is not None:
        assert weights[1] > weights[0]


class Joint(Processes):
    """One of two processes; the other one wishes `other`, and has the same sums."""

    world = 2

    def __init__(self, rank: int, other: float = 0.0) -> None:
        super().__init__(torch.device("cpu"))
        self.rank, self.other = rank, other

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor + (self.other if tensor.ndim == 0 else tensor)


def one_of(processes: Processes) -> Run:
    run = Run.__new__(Run)
    run.processes, run.progress = processes, Progress(loss_sum=1.5, correct=3)
    return run


@pytest.mark.parametrize(("mine", "other", "agreed"), [(False, 0, False), (True, 0, True), (False, 1, True)])
def test_what_any_process_wishes_is_done_by_all(mine: bool, other: int, agreed: bool) -> None:
    assert one_of(Joint(1, other))._agreed(mine) == agreed
    assert one_of(Processes(torch.device("cpu")))._agreed(mine) == mine


@pytest.mark.parametrize(
    ("processes", "sums"),
    [(Joint(0), (3.0, 6)), (Joint(1), (0.0, 0)), (Processes(torch.device("cpu")), (1.5, 3))],
)
def test_the_first_process_goes_on_from_the_sums_of_all(processes: Processes, sums: tuple[float, int]) -> None:
    run = one_of(processes)
    run._sum_progress()
    assert (run.progress.loss_sum, run.progress.correct) == sums
