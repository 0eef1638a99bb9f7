"""How much memory there is for this service, and how much of it one decoder may take.

A container's limit is its control group's, and whoever goes over it is killed: the decoders' limits have to fit in.
"""

from pathlib import Path

from spikesight.models.native.threads import MOUNTED, OWN, groups, lines

MIB = 2**20
SERVICE = 448 * MIB  # of the service itself and of the decoders' warm process, with the shipped models
LEAST, MOST = 64 * MIB, 1024 * MIB  # of one call
CALLS, FEW = 4, 2  # at once: more than cores, so that two slow ones leave room; and where memory is scarce
ENOUGH = 256 * MIB  # of one call, before more of them run at once
KILLS = ("memory.events", "memory.oom_control")  # files with a line "oom_kill N": v2 and v1
FILES = ("memory.max", "memory.limit_in_bytes")
TOTAL = Path("/proc/meminfo")


def limit(own: Path = OWN, mounted: Path = MOUNTED, total: Path = TOTAL) -> int | None:
    """Bytes that this process and its children may take: the least of the machine's memory and the limits of the
    control groups (v1 and v2) that it is in; None where the system says nothing.
    """
    found = [int(line.split()[1]) * 1024 for line in lines(total) if line.startswith("MemTotal:")]
    for group in groups("memory", own, mounted):
        for name in FILES:
            found += [int(text) for text in lines(group / name) if text.isdecimal()]
    return min(found, default=None)


def oom_kills(own: Path = OWN, mounted: Path = MOUNTED) -> int:
    """How many processes of this control group the kernel has ended for want of memory; 0 where it does not say."""
    for group in groups("memory", own, mounted):
        for line in (line for name in KILLS for line in lines(group / name)):
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def shares(limit: int | None) -> tuple[int, int]:
    """How many calls run at once, and the bytes that each may take.

    What a call answers is as large as what it took at most, and lies in the service until it was used: twice the bytes
    for each call, and once more for the one whose events are being binned.

    >>> [(calls, size // MIB) for calls, size in map(shares, (512 * MIB, 2**30, 2**31, 2**32, 2**34, None))]
    [(2, 64), (2, 96), (2, 266), (4, 364), (4, 1024), (4, 1024)]
    """
    if limit is None:
        return CALLS, MOST
    sizes = {calls: (limit - SERVICE) // (2 * calls + 2) for calls in (CALLS, FEW)}
    calls = CALLS if sizes[CALLS] >= ENOUGH else FEW
    return calls, max(LEAST, min(MOST, sizes[calls]))
