"""A run from its settings to its report, with everything that takes long stood in for."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from spikesight.training.config import TrainConfig
from spikesight.training.distributed import Processes
from spikesight.training.run import fit as fitting


def test_a_new_run_has_a_new_folder_of_its_name(tmp_path: Path) -> None:
    config = TrainConfig(output=str(tmp_path), data="some/nmnist", network="event-small")
    for name in ("nmnist-event-small", "nmnist-event-small-2", "nmnist-event-small-3"):
        folder = fitting.run_folder(config)
        assert folder == tmp_path / name
        folder.mkdir()
    assert fitting.run_folder(TrainConfig(output=str(tmp_path), name="mine")) == tmp_path / "mine"


@pytest.mark.parametrize(("rank", "order"), [(0, ["loaded", "waited"]), (1, ["waited", "loaded"])])
def test_the_first_process_fills_the_cache(rank: int, order: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    processes: Any = SimpleNamespace(main=rank == 0, wait=lambda: done.append("waited"))
    monkeypatch.setattr(fitting, "load_data", lambda config: done.append("loaded") or config)
    assert fitting.load_on_all(TrainConfig(), processes) == TrainConfig()
    assert done == order


class Stage:
    """What a run is asked for, in order."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, rank: int = 0, world: int = 1, words: tuple[str, ...] = ()
    ) -> None:
        self.asked = list[Any]()
        processes = Processes(torch.device("cpu"))
        processes.rank, processes.world = rank, world
        monkeypatch.setattr(processes, "close", lambda: self.asked.append("closed"))
        self.run = SimpleNamespace(
            data=SimpleNamespace(notes=words, train=range(3)), progress="progress", device="device", card="card",
            config=SimpleNamespace(epochs=7), resume=lambda: self.asked.append("resumed"), minutes=lambda: 2.6,
            train=lambda: self.asked.append("trained"), train_batch=self.train_batch,
        )  # fmt: skip
        stand_ins: dict[str, Any] = {
            "join_processes": lambda *_: processes, "load_on_all": lambda *_: "data", "load_data": lambda _: "data",
            "choose_device": lambda name: name, "Run": self.made,
            "write_environment": lambda folder, *_: self.asked.append(("environment", folder.is_dir())),
            "write_report": lambda *given: self.asked.append(given) or {"test": 1},
        }  # fmt: skip
        for name, stand_in in stand_ins.items():
            monkeypatch.setattr(fitting, name, stand_in)
        monkeypatch.setattr(torch, "set_num_threads", lambda n: self.asked.append(("threads", n)))

    def made(self, data: str, folder: Path, *_: object) -> Any:
        self.asked.append((data, folder.name))
        return self.run

    def train_batch(self, rows: np.ndarray) -> tuple[float, int]:
        self.asked.append(rows.tolist())
        return 1.5, 1


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_is_described_trained_and_reported(
    resume: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = Stage(monkeypatch, words=("a folder", "of two classes"))
    folder = tmp_path / "runs" / "r"
    for _ in range(2):  # the folder may be there
        stage.asked.clear()
        assert fitting.fit(TrainConfig.of(threads=3), folder, resume=resume) == {"test": 1}
        assert stage.asked == [
            ("threads", 3), ("data", "r"), *(["resumed"] if resume else []), ("environment", True), "trained",
            (folder, stage.run.data, "progress", "device", "card"), "closed",
        ]  # fmt: skip
    words = ["a folder", "of two classes", "about 3 min for 7 epochs; Ctrl-C saves"]
    assert capsys.readouterr().out.splitlines() == words * 2
    stage.asked.clear()
    stage.run.minutes = lambda: 0.2
    fitting.fit(TrainConfig(), folder)
    assert stage.asked[:2] == [("data", "r"), ("environment", True)], "threads stay; nothing is resumed"
    assert "about 1 min for 7 epochs" in capsys.readouterr().out


@pytest.mark.parametrize(("rank", "world", "words"), [(1, 2, ("a folder",)), (0, 2, ("a folder",)), (0, 1, ())])
def test_what_is_not_said(
    rank: int, world: int, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    stage = Stage(monkeypatch, rank, world, words)
    metrics = fitting.fit(TrainConfig(), tmp_path / "r")
    assert metrics == ({} if rank else {"test": 1})
    assert capsys.readouterr().out.splitlines() == ([] if rank else list(words)), "no time is told of several"
    if rank:
        assert stage.asked == [("data", "r"), "trained", "closed"]


@pytest.mark.parametrize(("batch", "loss"), [(2, 0.75), (9, 0.5)])
def test_one_batch_goes_through(batch: int, loss: float, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    assert fitting.dry_run(TrainConfig.of(batch_size=batch, threads=2, output="there")) == loss
    assert stage.asked == [("threads", 2), ("data", "there"), list(range(min(batch, 3)))]
    fitting.dry_run(TrainConfig())
    assert ("threads", 0) not in stage.asked
