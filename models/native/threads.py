"""The number of threads that a kernel call may use, and the CPU quota of the process's control groups.

Imports only the standard library: a command calls `granted` before PyTorch is imported and reads the environment.
"""

import math
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

OWN, MOUNTED = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
_chosen: list[int] = []


def use_threads(count: int | None) -> None:
    """Set the most threads of every later kernel call; None restores the default, PyTorch's number."""
    _chosen[:] = [] if count is None else [count]


def threads() -> int:
    """Return how many threads a kernel call may use: set by `use_threads`, else PyTorch's number up to `allowed()`.

    So OMP_NUM_THREADS and `torch.set_num_threads` hold for kernels, too, and a data loader's worker uses one thread.
    """
    if _chosen:
        return _chosen[0]
    import torch  # late: its import reads the environment

    return min(torch.get_num_threads(), allowed())


def granted() -> int:
    """Return a process's default number of threads: OMP_NUM_THREADS, else the available cores up to `allowed()`."""
    with suppress(ValueError):
        if (wanted := int(os.environ.get("OMP_NUM_THREADS", "").partition(",")[0])) > 0:
            return wanted
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, allowed())


@cache
def allowed() -> int:
    """Return the control groups' CPU quota in cores, rounded up; `sys.maxsize` if unlimited; read once a process."""
    return math.ceil(min(quota(), sys.maxsize))


def quota(own: Path = OWN, mounted: Path = MOUNTED) -> float:
    """Return the least CPU quota of this process's control groups (v1 and v2), in cores; infinite if none is set."""
    found = [math.inf]
    for group in groups("cpu", own, mounted):
        for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
            words = [word for name in names for line in lines(group / name) for word in line.split()]
            if len(words) == 2 and all(map(str.isdecimal, words)):
                found.append(int(words[0]) / int(words[1]))
    return min(found)


def groups(controller: str, own: Path, mounted: Path) -> Iterator[Path]:
    """Yield the folders of this process's control groups and their parents; in a container some do not exist."""
    for line in lines(own):
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        for root in (mounted / controller,) if controllers else (mounted, mounted / "unified"):
            group = root / path.lstrip("/")
            yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(root))


def lines(path: Path) -> list[str]:
    """Return the lines of a file; none if it cannot be read."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
