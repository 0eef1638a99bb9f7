"""The GPU's tables compare what they say, here on the CPU."""

import pytest
import torch

from benchmarks import gpu
from benchmarks.common import report

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def rows(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    found: list[tuple] = []
    monkeypatch.setattr(report, "table", lambda *_: None)
    monkeypatch.setattr(report, "row", lambda *cells: found.append(cells))
    return found


def test_another_librarys_network_is_made_before_it_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(gpu, "find_spec", lambda _: True)
    monkeypatch.setattr(gpu, "spikingjelly_resnet", lambda network: made.append(network) or (lambda x_seq: x_seq))
    gpu.compare_inference(CPU, size=32, batch=1, steps=1, rounds=2)
    assert len(made) == 1


def test_without_the_base_there_is_no_ratio(rows: list[tuple]) -> None:
    def broken() -> gpu.Step:
        raise RuntimeError("no kernel")

    gpu.print_timings("x", {"base": broken, "other": lambda: lambda: None}, "base", CPU, 1)
    assert [ratio for _, _, ratio, *_ in rows] == ["", ""]
    rows.clear()
    gpu.print_timings("x", {"base": lambda: lambda: sum(range(9999)), "other": lambda: lambda: None}, "base", CPU, 1)
    (_, base_ms, base, *_), (_, other_ms, other, *_) = rows
    assert (base, other) == (1.0, pytest.approx(base_ms / other_ms))
