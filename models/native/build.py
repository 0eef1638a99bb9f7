"""The native kernels: compiled once by the machine's own compiler, kept in a per-user folder, loaded with ctypes.

A machine with no compiler takes the one of the package ziglang; without that it works as well, only slower: `library`
then returns None and every caller takes its plain path. `SPIKESIGHT_NATIVE=0` forces that, `SPIKESIGHT_ISA=avx2` (or
`portable`) a narrower instruction set, `SPIKESIGHT_CACHE` another folder, `CXX` another compiler.
"""

import ctypes
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

NUMBER, POINTER, REAL = ctypes.c_int64, ctypes.c_void_p, ctypes.c_double  # what the native structures are made of
SOURCES = Path(__file__).parent
COMPILERS = ("g++", "clang++", "c++")
COMPILE_SECONDS = 300  # ziglang builds its C++ library first
FLAGS = (
    "-O3",
    "-std=c++17",
    "-shared",
    "-fPIC",
    "-pthread",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
)
AVX2 = ("-mavx2", "-mfma", "-mbmi2", "-mpopcnt")
AVX512 = (*AVX2, "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq")
ISA_FLAGS: dict[str, tuple[str, ...]] = {  # widest first
    "avx512-bf16": (*AVX512, "-mavx512bf16"),
    "avx512": AVX512,
    "avx2": AVX2,
    "portable": (),
}
ISA_NEEDS: dict[str, frozenset[str]] = {  # Linux's names of the same features
    isa: frozenset("avx512_bf16" if flag == "-mavx512bf16" else flag.removeprefix("-m") for flag in flags)
    for isa, flags in ISA_FLAGS.items()
}


class Build(NamedTuple):
    """What came of building the kernels."""

    library: ctypes.CDLL | None
    isa: str
    reason: str  # why there is no library, or which compiler made it


def cpu_flags() -> frozenset[str]:
    """The CPU's features by Linux's names; empty where the system does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())


def supported_isas() -> tuple[str, ...]:
    """The instruction sets this CPU has, widest first; "portable" always."""
    flags = cpu_flags()
    return tuple(isa for isa, needs in ISA_NEEDS.items() if needs <= flags)


def cache_folder() -> Path:
    """Where compiled kernels are kept: one folder a user, which nobody else may write to."""
    chosen = os.environ.get("SPIKESIGHT_CACHE")
    root = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spikesight"
    folder = root / "native"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not os.access(folder, os.W_OK) or (hasattr(os, "getuid") and folder.stat().st_uid != os.getuid()):
        raise OSError(f"{folder} belongs to somebody else")
    return folder


def find_compiler() -> tuple[str, ...]:
    """The command of a C++ compiler: `CXX`, the system's, or the package ziglang's; empty where there is none."""
    names = (os.environ["CXX"],) if os.environ.get("CXX") else COMPILERS
    for name in names:
        if path := shutil.which(name):
            return (path,)
    if "CXX" not in os.environ and importlib.util.find_spec("ziglang"):
        return (sys.executable, "-m", "ziglang", "c++")
    return ()


def compiler_name(command: tuple[str, ...]) -> str:
    """What a person calls it.

    >>> compiler_name(("/usr/bin/g++",)), compiler_name(("/usr/bin/python3", "-m", "ziglang", "c++"))
    ('g++', 'ziglang')
    """
    return Path(command[0]).name if len(command) == 1 else command[2]


def compile_kernels(isa: str) -> Path:
    """The path of the compiled library, built if it is not in the cache. Raises OSError with the reason."""
    compiler = find_compiler()
    if not compiler:
        raise OSError("no C++ compiler was found: install g++, or pip install ziglang")
    units = sorted(SOURCES.glob("*.cpp"))
    digest = hashlib.sha256()
    for path in sorted(SOURCES.iterdir()):
        if path.suffix in (".cpp", ".h"):
            digest.update(path.read_bytes())
    version = subprocess.run([*compiler, "--version"], capture_output=True, text=True, timeout=60).stdout
    digest.update(repr((compiler, version, platform.machine(), FLAGS, ISA_FLAGS[isa])).encode())
    try:
        folder = cache_folder()
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="spikesight-"))
    target = folder / f"kernels-{isa}-{digest.hexdigest()[:24]}.so"
    if target.is_file():
        return target
    handle, name = tempfile.mkstemp(dir=folder, suffix=".so")
    os.close(handle)
    partial = Path(name)
    try:
        command = [*compiler, *FLAGS, *ISA_FLAGS[isa], *map(str, units), "-o", str(partial)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS)
        if done.returncode != 0:
            raise OSError(
                f"{compiler_name(compiler)} failed: {(done.stderr.strip().splitlines() or ['no message'])[-1][:200]}"
            )
        partial.replace(target)
    except subprocess.TimeoutExpired:
        raise OSError(f"{compiler_name(compiler)} took over {COMPILE_SECONDS} s") from None
    finally:
        partial.unlink(missing_ok=True)
    return target


@cache
def build() -> Build:
    """Build and load the kernels, once a process; never raises."""
    if os.environ.get("SPIKESIGHT_NATIVE") == "0":
        return Build(None, "none", "switched off by SPIKESIGHT_NATIVE=0")
    isas = supported_isas()
    isa = os.environ.get("SPIKESIGHT_ISA") or isas[0]
    if isa not in isas:
        return Build(None, "none", f"SPIKESIGHT_ISA={isa}: this CPU has {', '.join(isas)}")
    try:
        path = compile_kernels(isa)
        return Build(_declare(ctypes.CDLL(str(path))), isa, f"compiled by {compiler_name(find_compiler())}")
    except (OSError, subprocess.SubprocessError, AttributeError) as error:
        return Build(None, "none", str(error))


def library() -> ctypes.CDLL | None:
    """The loaded kernels, or None where they could not be built."""
    return build().library


def _declare(lib: ctypes.CDLL) -> ctypes.CDLL:
    lib.engine_plan.argtypes, lib.engine_plan.restype = [POINTER, NUMBER, POINTER, NUMBER, POINTER], POINTER
    lib.engine_free.argtypes, lib.engine_free.restype = [POINTER], None
    lib.engine_run.argtypes, lib.engine_run.restype = [POINTER, POINTER], NUMBER
    lib.engine_statistics.argtypes, lib.engine_statistics.restype = [POINTER, POINTER], None
    for name in ("event_convolution_forward", "event_convolution_backward"):
        function = getattr(lib, name)
        function.argtypes, function.restype = [POINTER], None
    lib.neurons_forward.argtypes, lib.neurons_forward.restype = [POINTER] * 5, None
    lib.neurons_backward.argtypes, lib.neurons_backward.restype = [POINTER] * 7, REAL
    return lib
