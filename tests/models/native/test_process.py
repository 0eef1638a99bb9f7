"""What a process may use: threads, by the environment, PyTorch and control groups; memory that stays with it."""

import math
import platform
from pathlib import Path

import numpy as np
import pytest
import torch

from spikesight.models.native.memory import give_back, keep_membranes
from spikesight.models.native.threads import granted, quota, threads, use_threads
from tests.support.processes import in_fresh_process
from tests.support.serving.servers import resident


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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library: its allocator is left as it is")
def test_what_is_free_below_what_lives_on_goes_back() -> None:
    assert keep_membranes()
    blocks = [np.ones(2**18, np.float32) for _ in range(40)]
    last = np.ones(2**18, np.float32)
    before = resident()
    blocks.clear()
    held = resident()
    assert give_back()
    assert resident() < min(before, held) - 20 * 2**20
    assert last.all()


def test_keeping_memory_respects_the_user() -> None:
    code = "from spikesight.models.native.memory import keep_memory; print(keep_memory())"
    assert in_fresh_process(code, MALLOC_ARENA_MAX="2") == "False"
    assert in_fresh_process(code) in ("True", "False")
