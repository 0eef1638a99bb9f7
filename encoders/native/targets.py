"""Compilation targets of the kernels: operating systems, instruction sets and compiler commands.

Imports only the standard library, and no other module of this package: the wheel's build hook loads this file alone.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

EVENT_KERNELS = Path(__file__).parent / "kernels"
NETWORK_KERNELS = Path(__file__).parents[2] / "models" / "native" / "kernels"
SOURCES = (EVENT_KERNELS, NETWORK_KERNELS)
INCLUDES = [f"-I{folder}" for folder in SOURCES]
PREBUILT = Path(__file__).parent / "prebuilt"  # in a wheel, not in a checkout
COMPILERS = ("g++", "clang++", "c++")
COMPILE_SECONDS = 300  # limit of CPU time, not of wall time: a busy machine may take longer
FLAGS = ("-O3", "-std=c++17", "-fPIC", "-pthread", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")
AVX2 = ("-mavx2", "-mfma", "-mbmi2", "-mpopcnt")
AVX512 = (*AVX2, "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq")
X86: dict[str, tuple[str, ...]] = {  # widest first
    "avx512-amx": (*AVX512, "-mavx512bf16", "-mamx-tile", "-mamx-bf16"),
    "avx512-bf16": (*AVX512, "-mavx512bf16"),
    "avx512": AVX512,
    "avx2": AVX2,
    "portable": (),
}
NO_MAC_HAS = ("avx512-amx", "avx512-bf16")  # AMX also needs a system call of Linux's
ARM: dict[str, tuple[str, ...]] = {"neon": ()}  # every 64-bit ARM processor has NEON
FEATURES = {"-mavx512bf16": "avx512_bf16", "-mamx-tile": "amx_tile", "-mamx-bf16": "amx_bf16"}  # as in cpuinfo
# ziglang would compile its C++ library for each target, for a minute; the kernels do without (runtime.cpp).
NO_RUNTIME = ("-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics", "-DSPIKESIGHT_NO_RUNTIME")


class System(NamedTuple):
    """A target platform: an operating system on a processor architecture."""

    target: str  # ziglang's target name, with the oldest supported version
    tag: str  # platform tag of a wheel
    isas: dict[str, tuple[str, ...]]  # instruction sets to compiler flags, widest first


SYSTEMS = {
    "linux-x86_64": System("x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64", X86),
    "linux-arm64": System("aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64", ARM),
    "macos-arm64": System("aarch64-macos.11.0", "macosx_11_0_arm64", ARM),
    "macos-x86_64": System(
        "x86_64-macos.10.15",
        "macosx_10_15_x86_64",
        {name: flags for name, flags in X86.items() if name not in NO_MAC_HAS},
    ),
}


def this_system() -> str:
    """Return this machine's key in `SYSTEMS`, such as "linux-x86_64"; a name of the same form if it has none.

    >>> this_system() in SYSTEMS or this_system().startswith("win")
    True
    """
    machine = platform.machine().lower()
    machine = {"amd64": "x86_64", "aarch64": "arm64"}.get(machine, machine)
    return f"{ {'darwin': 'macos'}.get(sys.platform, sys.platform) }-{machine}"


def isas() -> dict[str, tuple[str, ...]]:
    """Return the instruction sets of this machine's architecture with their compiler flags, widest first."""
    name = this_system()
    if name in SYSTEMS:
        return SYSTEMS[name].isas
    return ARM if name.endswith("arm64") else X86 if name.endswith("x86_64") else {"portable": ()}


def cpu_flags() -> frozenset[str]:
    """Return the CPU's feature names as the system lists them, in lower case; empty if it lists none."""
    if sys.platform == "darwin":
        names = ("machdep.cpu.features", "machdep.cpu.leaf7_features")
        done = subprocess.run(("sysctl", "-n", *names), capture_output=True, text=True)
        return frozenset(done.stdout.lower().split())
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())


def supported_isas() -> tuple[str, ...]:
    """Return the instruction sets that this CPU supports, widest first; the last one needs no special features."""
    have = cpu_flags()
    needs = {isa: {FEATURES.get(flag, flag.removeprefix("-m")) for flag in flags} for isa, flags in isas().items()}
    return tuple(isa for isa, names in needs.items() if names <= have)


def find_compilers() -> list[tuple[str, ...]]:
    """Return C++ compiler commands in the order to try: `CXX` alone if set, else the system's, then ziglang's."""
    if chosen := os.environ.get("CXX"):
        return [(path,)] if (path := shutil.which(chosen)) else []
    found: list[tuple[str, ...]] = [(path,) for name in COMPILERS if (path := shutil.which(name))]
    ziglang = [(sys.executable, "-m", "ziglang", "c++")] if find_spec("ziglang") else []
    return [*found[:1], *ziglang]


def compiler_name(command: tuple[str, ...]) -> str:
    """Return the short name of a compiler command, for messages.

    >>> compiler_name(("/usr/bin/g++",)), compiler_name(("/usr/bin/python3", "-m", "ziglang", "c++"))
    ('g++', 'ziglang')
    """
    return Path(command[0]).name if len(command) == 1 else command[2]


def sources(pattern: str) -> list[Path]:
    """Return the kernels' files of this pattern, in the order of their paths."""
    return [path for folder in SOURCES for path in sorted(folder.rglob(pattern))]


def fingerprint(*more: object) -> str:
    """Return a digest, 24 hex digits, of the sources, the common flags and `more`, on which a library depends."""
    digest = hashlib.sha256(repr((FLAGS, NO_RUNTIME, more)).encode())
    for path in sources("*.*"):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:24]


def run(command: list[str], compiler: str) -> None:
    """Run a compiler's command, `compiler` being the name for messages. Raises OSError with the compiler's error."""
    limited = ["sh", "-c", f'ulimit -t {COMPILE_SECONDS}; exec "$@"', "sh", *command]
    done = subprocess.run(limited, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{compiler} failed: {complaint(done.stderr + done.stdout, done.returncode)}")


def complaint(said: str, code: int) -> str:
    """Return the line of a compiler's output that states the error; without output, how the process ended.

    >>> complaint("In file included from a.h:\\na.h:1: fatal error: no such file\\ncompilation terminated.", 1)
    'a.h:1: fatal error: no such file'
    >>> complaint("", -9)
    'it was ended by signal 9 and said nothing'
    """
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if not lines:
        return f"it {f'was ended by signal {-code}' if code < 0 else f'ended with code {code}'} and said nothing"
    return next((line for line in lines if "error" in line.lower()), lines[-1])[:200]


def compile_library(
    compiler: tuple[str, ...], system: str, isa_flags: tuple[str, ...], target: Path, folder: Path
) -> None:
    """Compile the sources in parallel, with objects in `folder`; link them into `target`. Raises OSError on errors."""
    name, driver, flags, last = (
        compiler_name(compiler),
        list(compiler),
        [*FLAGS, *INCLUDES, *isa_flags],
        ["-shared", "-pthread"],
    )
    if name == "ziglang" and system in SYSTEMS:  # ziglang's defaults: this machine, and its C++ library
        driver[-1] = "cc"
        place = ["-target", SYSTEMS[system].target]
        flags, last = [*flags, *place, *NO_RUNTIME], [*last, *place, "-s"]
    units = sources("*.cpp")
    objects = [folder / f"{unit.stem}.o" for unit in units]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        commands = [[*compiler, "-c", *flags, str(unit), "-o", str(made)] for unit, made in zip(units, objects)]
        list(pool.map(run, commands, [name] * len(commands)))
    run([*driver, *last, *map(str, objects), "-o", str(target)], name)
