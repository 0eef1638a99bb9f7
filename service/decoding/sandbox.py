"""Confinement of a process that reads untrusted files: it reaches one folder of its own, and nothing else here.

Landlock (Linux 5.13 and later) enforces it: no other file can be opened, nor /proc with the service's environment;
from ABI version 4 on no TCP, from 6 on no signals to other processes. Open files stay open, so everything is imported
and compiled before.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # system calls, the same on all architectures
ASK_VERSION, PATH_BENEATH, NO_NEW_PRIVILEGES = 1, 1, 38  # linux/landlock.h, linux/prctl.h
FILES = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}  # access rights by the version that introduced them
TCP, OUTSIDE = 0b11, 0b11  # bind and connect; abstract sockets and signals outside the sandbox
WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG, TRUNCATE = 1, 2, 3, 4, 5, 7, 8, 14
OWN = sum(1 << bit for bit in (WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG, TRUNCATE))

BEHIND = 5  # added to the niceness of decoders, so that the service runs first
FORK_SERVER = "SPIKESIGHT_FORK_SERVER"  # a variable by which the fork server knows that it is one
KEPT = (
    "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "PYTHONUTF8", "TMPDIR",
    "HDF5_PLUGIN_PATH", "OMP_NUM_THREADS", "OPENCV_IO_MAX_IMAGE_PIXELS",
    "CXX", "PATH", "SPIKESIGHT_CACHE", "SPIKESIGHT_ISA", "SPIKESIGHT_NATIVE", "XDG_CACHE_HOME",
)  # fmt: skip
"""Environment variables passed on: those by which Python and its libraries find their files and limits."""


@contextmanager
def bare_environment() -> Iterator[None]:
    """Let programs that are started meanwhile inherit only KEPT, and import nothing from the current folder.

    It changes the pointer alone from which they inherit, as other threads may be reading the variables.
    """
    kept = [f"{name}={os.environ[name]}" for name in KEPT if name in os.environ]
    texts = [*map(os.fsencode, kept), b"PYTHONSAFEPATH=1", f"{FORK_SERVER}=1".encode(), None]
    block = (ctypes.c_char_p * len(texts))(*texts)
    environ = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "environ")
    before, environ.value = environ.value, ctypes.addressof(block)
    try:
        yield
    finally:
        environ.value = before


def version() -> int:
    """Return the ABI version of Landlock; 0 if the kernel has none or does not allow it."""
    return max(0, _call(CREATE_RULESET, None, 0, ASK_VERSION)) if sys.platform == "linux" else 0


def confine(folder: str | None) -> None:
    """Restrict this thread, and what it starts, to `folder` for good; None: to no folder. No effect without Landlock.

    Raises OSError if Landlock is available but fails.
    """
    known = version()
    if not known:
        return
    handled = [sum(bits for since, bits in FILES.items() if known >= since)]
    handled += [TCP] if known >= 4 else []
    handled += [OUTSIDE] if known >= 6 else []
    attributes = struct.pack(f"{len(handled)}Q", *handled)
    rules = _checked(CREATE_RULESET, attributes, len(attributes), 0)
    if folder is not None:
        opened = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        _checked(ADD_RULE, rules, PATH_BENEATH, struct.pack("=Qi", OWN & handled[0], opened), 0)
        os.close(opened)
    if ctypes.CDLL(None, use_errno=True).prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    _checked(RESTRICT_SELF, rules, 0)
    os.close(rules)


def lower_priority() -> None:
    """Lower this process's priority: the service gets the CPU first, and out of memory the kernel kills this one."""
    os.nice(BEHIND)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _checked(number: int, *arguments: int | bytes | None) -> int:
    if (result := _call(number, *arguments)) < 0:
        raise OSError(ctypes.get_errno(), "Landlock")
    return result


def _call(number: int, *arguments: int | bytes | None) -> int:
    system = ctypes.CDLL(None, use_errno=True)
    system.syscall.restype = ctypes.c_long
    numbers = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return system.syscall(ctypes.c_long(number), *numbers)
