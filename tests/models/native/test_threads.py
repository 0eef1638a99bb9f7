"""How many threads a call may use: the environment, PyTorch, control groups."""

import math
from pathlib import Path

import pytest
import torch

from spikesight.models.native.threads import granted, quota, threads, use_threads


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 100000\n"}, 2),
        ("3:cpu,cpuacct:/x\n", {"cpu/x/cpu.cfs_quota_us": "50000\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, 0.5),
        ("3:cpu,cpuacct:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("4:cpuset:/x\n", {"cpu/x/cpu.cfs_quota_us": "50000\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("", {}, math.inf),
    ],
)
def test_the_least_share_counts(own: str, files: dict[str, str], expected: float, tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text(own)
    for name, text in files.items():
        path = tmp_path / "mounted" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert quota(tmp_path / "cgroup", tmp_path / "mounted") == expected


@pytest.mark.parametrize("text", ["", "0", "-2", "all"])
def test_what_says_nothing_leaves_the_machines_cores(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = granted()
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert granted() == cores >= 1
    for told, expected in (("3", 3), ("64,4", 64)):
        monkeypatch.setenv("OMP_NUM_THREADS", told)
        assert granted() == expected


def test_a_call_uses_as_many_as_pytorch_unless_told() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert threads() == 1
        use_threads(7)
        assert threads() == 7
        use_threads(None)
        assert threads() == 1
    finally:
        use_threads(None)
        torch.set_num_threads(before)
