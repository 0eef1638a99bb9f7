"""Run folders, and which process fills the cache."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spikesight.training.config import TrainConfig
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
