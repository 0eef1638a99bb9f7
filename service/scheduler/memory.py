"""Memory available to this service, and the part of it that one decoder process may use.

In a container the limit is that of the control group, and a process that exceeds it is killed: the limits of all
decoders together must fit in.
"""

from pathlib import Path

from spikesight.models.native.threads import MOUNTED, OWN, groups, lines

MIB = 2**20
SERVICE = 448 * MIB  # used by the service and the decoders' parent process, with the shipped models
LEAST, MOST = 64 * MIB, 1024 * MIB  # bounds of one call's memory
CALLS, FEW = 4, 2  # calls at once (two slow ones leave room for others), and with little memory
ENOUGH = 256 * MIB  # memory that each call must get before CALLS rather than FEW run at once
KILLS = ("memory.events", "memory.oom_control")  # files with a line "oom_kill N": v2 and v1
FILES = ("memory.max", "memory.limit_in_bytes")
TOTAL = Path("/proc/meminfo")


def memory_limit(own: Path = OWN, mounted: Path = MOUNTED, total: Path = TOTAL) -> int | None:
    """Return the bytes that this process and its children may use: the least of the machine's memory and the limits of
    the process's control groups (v1 and v2); None if the system does not say.
    """
    found = [int(line.split()[1]) * 1024 for line in lines(total) if line.startswith("MemTotal:")]
    for group in groups("memory", own, mounted):
        for name in FILES:
            found += [int(text) for text in lines(group / name) if text.isdecimal()]
    return min(found, default=None)


def oom_kills(own: Path = OWN, mounted: Path = MOUNTED) -> int:
    """Return how many processes of this control group the kernel has killed for lack of memory; 0 if unknown."""
    for group in groups("memory", own, mounted):
        for line in (line for name in KILLS for line in lines(group / name)):
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def call_limits(limit: int | None) -> tuple[int, int]:
    """Return how many decoder calls may run at once, and the bytes that each may use.

    A call's result can be as large as the memory that the call used, and stays in the service until it is consumed:
    twice the bytes for each call, and twice more for the call whose events are being binned.

    >>> [(calls, size // MIB) for calls, size in map(call_limits, (512 * MIB, 2**30, 2**31, 2**32, 2**34, None))]
    [(2, 64), (2, 96), (2, 266), (4, 364), (4, 1024), (4, 1024)]
    """
    if limit is None:
        return CALLS, MOST
    sizes = {calls: (limit - SERVICE) // (2 * calls + 2) for calls in (CALLS, FEW)}
    calls = CALLS if sizes[CALLS] >= ENOUGH else FEW
    return calls, max(LEAST, min(MOST, sizes[calls]))
