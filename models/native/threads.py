"""How many threads one call of the kernels may share its work among, and what a control group lets a process have.

Standard library only at import: a command asks before it lets PyTorch read the environment.
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
    """Have every call from now on use up to so many threads; None: what PyTorch uses, as at the start."""
    _chosen[:] = [] if count is None else [count]


def threads() -> int:
    """How many a call may use: what `use_threads` chose, else as many as PyTorch, where the control groups let it.

    So OMP_NUM_THREADS and `torch.set_num_threads` hold for the engine too, and a data loader's worker has one.
    """
    if _chosen:
        return _chosen[0]
    import torch  # late: its import reads the environment

    return min(torch.get_num_threads(), allowed())


def granted() -> int:
    """What this process may use where nobody chose: OMP_NUM_THREADS, else the machine's cores as far as `allowed`."""
    with suppress(ValueError):
        if (wanted := int(os.environ.get("OMP_NUM_THREADS", "").partition(",")[0])) > 0:
            return wanted
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, allowed())


@cache
def allowed() -> int:
    """How many cores the control groups let this process have, a part of one counted whole; asked once."""
    return math.ceil(min(quota(), sys.maxsize))


def quota(own: Path = OWN, mounted: Path = MOUNTED) -> float:
    """The cores whose time the control groups (v1 and v2) let this process have; infinite where none says."""
    found = [math.inf]
    for group in groups("cpu", own, mounted):
        for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
            words = [word for name in names for line in lines(group / name) for word in line.split()]
            if len(words) == 2 and all(map(str.isdecimal, words)):
                found.append(int(words[0]) / int(words[1]))
    return min(found)


def groups(controller: str, own: Path, mounted: Path) -> Iterator[Path]:
    """The folders of this process's control groups, from its own up; inside a container some are not there."""
    for line in lines(own):
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        for root in (mounted / controller,) if controllers else (mounted, mounted / "unified"):
            group = root / path.lstrip("/")
            yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(root))


def lines(path: Path) -> list[str]:
    """Those of a file; none where it cannot be read."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
