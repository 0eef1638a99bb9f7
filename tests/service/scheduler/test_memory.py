"""How much memory there is: the machine's, or what a control group leaves of it; and what fits into it."""

from pathlib import Path

import pytest

from spikesight.service.scheduler.memory import MIB, call_limits, memory_limit, oom_kills

GIB = 2**30


def tree(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {"memory.max": f"{GIB}\n"}, GIB),
        ("0::/\n", {"memory.max": "max\n"}, 8 * GIB),
        ("0::/a/b\n", {"a/memory.max": f"{GIB}\n", "a/b/memory.max": f"{3 * GIB}\n"}, GIB),
        ("0::/a/b\n", {"a/memory.max": "max\n", "a/b/memory.max": f"{3 * GIB}\n"}, 3 * GIB),
        ("0::/host/path/of/it\n", {"memory.max": f"{2 * GIB}\n"}, 2 * GIB),
        ("4:cpu,memory:/x\n0::/\n", {"memory/x/memory.limit_in_bytes": f"{GIB}\n"}, GIB),
        ("4:memory:/docker/x\n", {"memory/memory.limit_in_bytes": f"{GIB}\n"}, GIB),
        ("4:memory:/x\n", {"memory/x/memory.limit_in_bytes": "9223372036854771712\n"}, 8 * GIB),
        ("4:cpu:/x\n", {"memory/x/memory.limit_in_bytes": f"{GIB}\n"}, 8 * GIB),
        ("0::/\n", {"memory.max": f"{99 * GIB}\n"}, 8 * GIB),
        ("", {}, 8 * GIB),
    ],
)
def test_the_least_limit_counts(own: str, files: dict[str, str], expected: int, tmp_path: Path) -> None:
    tree(tmp_path, {"cgroup": own, "meminfo": f"MemTotal: {8 * GIB // 1024} kB\nMemFree: 1 kB\n"})
    tree(tmp_path / "mounted", files)
    assert memory_limit(tmp_path / "cgroup", tmp_path / "mounted", tmp_path / "meminfo") == expected


def test_a_system_that_says_nothing_has_no_limit(tmp_path: Path) -> None:
    assert memory_limit(tmp_path / "none", tmp_path, tmp_path / "none") is None


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/a\n", {"a/memory.events": "oom 3\noom_kill 2\noom_group_kill 1\n", "memory.events": "oom_kill 9\n"}, 2),
        ("0::/host/path/of/it\n", {"memory.events": "low 0\noom_kill 4\n"}, 4),
        ("4:memory:/x\n", {"memory/x/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"}, 5),
        ("0::/\n", {}, 0),
    ],
)
def test_what_the_kernel_ended_is_counted(own: str, files: dict[str, str], expected: int, tmp_path: Path) -> None:
    tree(tmp_path, {"cgroup": own})
    tree(tmp_path / "mounted", files)
    assert oom_kills(tmp_path / "cgroup", tmp_path / "mounted") == expected


@pytest.mark.attack(
    "load",
    "recordings that unpack to more than a container has, from many connections",
    "decoders share what the container's limit leaves beside the service; 413",
)
@pytest.mark.parametrize("size", [GIB, 2 * GIB, 3 * GIB, 4 * GIB, 16 * GIB])
def test_all_decoders_at_their_limits_and_their_answers_fit_beside_the_service(size: int) -> None:
    calls, each = call_limits(size)
    assert calls >= 2, "one slow recording holds nobody up"
    assert each >= 64 * MIB
    assert 400 * MIB + 2 * calls * each <= size
