"""Find or compile the native kernels and load them with ctypes.

A wheel contains a library for each instruction set. A checkout, or a system without a wheel, compiles one at first use
with the machine's compiler or the package ziglang's, and keeps it in a per-user folder. Events cannot be read, filtered
or binned without it (`call`); networks can (`library` returns None), more slowly. Environment: `SPIKESIGHT_NATIVE=0`
leaves networks to PyTorch, `SPIKESIGHT_NATIVE=compile` compiles even if the wheel has a library, `SPIKESIGHT_ISA=avx2`
chooses an instruction set, `SPIKESIGHT_CACHE` the folder, `CXX` the compiler.
"""

import ctypes
import logging
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.native.targets import (
    PREBUILT,
    compile_library,
    compiler_name,
    find_compilers,
    fingerprint,
    isas,
    supported_isas,
    this_system,
)

NUMBER, POINTER, REAL = ctypes.c_int64, ctypes.c_void_p, ctypes.c_double  # field types of the native structures
ANY = ctypes.c_char * 0
KINDS = {"i": NUMBER, "a": POINTER, "f": REAL}
CALLED = {
    "events_bins": "aiiiafaiiai",
    "events_faults": "aiii",
    "events_sorted": "aaiiaa",
    "tracker_begin": "aaai",
    "tracker_bytes": "a",
    "tracker_step": "aaaiia",
    "tracker_output_size": "i",
    "follow_frame": "aia",
    "follow_size": "iia",
    "front_begin": "aiiiiifaa",
    "front_bytes": "",
    "front_pass": "aaia",
    "front_sums": "iiii",
    "stream_begin": "aaiiiiiiff",
    "stream_run": "aiiaiaiaa",
    "grid_lines": "iiiiia",
    "pixels_frame": "aiiiiaaaaaaffiiiiaaa",
    "pyramid_canvas": "aiiiaa",
    "words_decoded": "iaaiaia",
}
"""The functions that take arrays of events and of logits, and what they take: integers, arrays, reals."""
log = logging.getLogger("spikesight")
_turn = Lock()  # models load in several threads; only the first compiles


class NoKernelsError(OSError):
    """There is no compiled library, and none can be made; the message says why."""


class Build(NamedTuple):
    """The loaded kernels, or the reason why there are none."""

    library: ctypes.CDLL | None
    isa: str  # instruction set, "none" without a library
    reason: str  # why there is no library, or where it comes from


def cache_folder() -> Path:
    """Create and return the user's folder for compiled kernels. Raises OSError if it is another's or not writable."""
    chosen = os.environ.get("SPIKESIGHT_CACHE")
    root = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spikesight"
    folder = root / "native"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not os.access(folder, os.W_OK) or (hasattr(os, "getuid") and folder.stat().st_uid != os.getuid()):
        raise OSError(f"{folder} belongs to somebody else")
    return folder


def own_temporary_folder() -> Path:
    """Return a folder among the temporary files for all of a user's processes, which only this user can write to.

    Raises OSError if it cannot be made, or belongs to somebody else.
    """
    user = getattr(os, "getuid", lambda: 0)()
    folder = Path(tempfile.gettempdir()) / f"spikesight-compiled-{user}"
    folder.mkdir(exist_ok=True, mode=0o700)
    there = folder.lstat()
    if folder.is_symlink() or there.st_uid != user or there.st_mode & 0o022:
        raise OSError(f"{folder} belongs to somebody else")
    return folder


def compile_kernels(isa: str, compiler: tuple[str, ...]) -> Path:
    """Return the path of the library for `isa`, compiled unless the cache has it. Raises OSError with the reason."""
    version = subprocess.run([*compiler, "--version"], capture_output=True, text=True, timeout=60).stdout
    try:
        folder = cache_folder()
    except OSError:
        folder = own_temporary_folder()
    target = folder / f"kernels-{isa}-{fingerprint(compiler, version, this_system(), isas()[isa])}.so"
    with _turn:
        if not target.is_file():
            log.warning("compiling the native kernels with %s, once: under a minute", compiler_name(compiler))
            with tempfile.TemporaryDirectory(dir=folder) as name:
                made = Path(name) / target.name
                compile_library(compiler, this_system(), isas()[isa], made, Path(name))
                made.replace(target)
    return target


def compiled(isa: str) -> Build:
    """Load a library compiled on this machine. Raises OSError with the errors of every compiler tried."""
    said = []
    for compiler in find_compilers():
        try:
            path = compile_kernels(isa, compiler)
            return Build(_declare(ctypes.CDLL(str(path))), isa, f"compiled by {compiler_name(compiler)}")
        except (OSError, subprocess.SubprocessError, AttributeError) as error:
            said.append(str(error))
    raise OSError("; ".join(said) or "no C++ compiler was found: install g++, or pip install ziglang")


def brought(isa: str) -> Build | None:
    """Load the wheel's library; None if it is missing, does not load or SPIKESIGHT_NATIVE=compile forbids it."""
    path = PREBUILT / f"{isa}.so"
    if os.environ.get("SPIKESIGHT_NATIVE") == "compile" or not path.is_file():
        return None
    try:
        return Build(_declare(ctypes.CDLL(str(path))), isa, "prebuilt")
    except (OSError, AttributeError) as error:
        log.warning("the prebuilt kernels do not load here: %s", error)
        return None


@cache
def load() -> Build:
    """Find or compile the kernels and load them, once a process; a failure is told in the result's `reason`."""
    have = supported_isas()
    isa = os.environ.get("SPIKESIGHT_ISA") or have[0]
    if isa not in have:
        return Build(None, "none", f"SPIKESIGHT_ISA={isa}: this CPU has {', '.join(have)}")
    try:
        return brought(isa) or compiled(isa)
    except OSError as error:
        return Build(None, "none", str(error))


@cache
def build() -> Build:
    """Return what runs networks: the kernels, unless SPIKESIGHT_NATIVE=0 leaves them to PyTorch."""
    if os.environ.get("SPIKESIGHT_NATIVE") == "0":
        return Build(None, "none", "switched off by SPIKESIGHT_NATIVE=0")
    return load()


def library() -> ctypes.CDLL | None:
    """Return the kernels that run networks; None if they are switched off, or could not be found or compiled."""
    return build().library


@cache
def function(name: str) -> Any:
    """Return one of the functions CALLED. Arrays go by `address`: they are contiguous, and of the size and type
    that the function takes, which the caller sees to. Raises NoKernelsError if there are no kernels.
    """
    made = load()
    if made.library is None:
        raise NoKernelsError(f"events are handled by compiled kernels, and there are none: {made.reason}")
    function = getattr(made.library, name)
    function.argtypes, function.restype = [KINDS[kind] for kind in CALLED[name]], NUMBER
    return function


def call(name: str, *given: NDArray[Any] | float | None) -> int:
    """Call a `function` with arrays and numbers."""
    return function(name)(*[address(one) if isinstance(one, np.ndarray) else one for one in given])


def address(array: NDArray[Any]) -> Any:
    """Return where an array begins, for `function`."""
    try:
        return ANY.from_buffer(array)  # quicker than to ask NumPy
    except (TypeError, ValueError):  # it is read-only
        return array.ctypes.data


def _declare(lib: ctypes.CDLL) -> ctypes.CDLL:
    lib.engine_plan.argtypes, lib.engine_plan.restype = [POINTER, NUMBER, POINTER, NUMBER, POINTER], POINTER
    lib.engine_free.argtypes, lib.engine_free.restype = [POINTER], None
    lib.engine_run.argtypes, lib.engine_run.restype = [POINTER, POINTER], NUMBER
    lib.engine_has_matrix_unit.argtypes, lib.engine_has_matrix_unit.restype = [], NUMBER
    lib.engine_statistics.argtypes, lib.engine_statistics.restype = [POINTER, POINTER], None
    lib.neurons_forward.argtypes, lib.neurons_forward.restype = [POINTER] * 5, None
    lib.neurons_backward.argtypes, lib.neurons_backward.restype = [POINTER] * 7, REAL
    return lib
