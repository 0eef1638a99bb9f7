"""What the kernels are compiled for, and how: systems, instruction sets, and the commands of a compiler.

Standard library only, and nothing of ours: the wheel's build hook reads this file where nothing is installed.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

SOURCES = Path(__file__).parent / "kernels"
PREBUILT = Path(__file__).parent / "prebuilt"  # in a wheel, not in a checkout
COMPILERS = ("g++", "clang++", "c++")
COMPILE_SECONDS = 300  # of CPU: a busy machine gives it less and is no reason to give up
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
NO_MAC_HAS = ("avx512-amx", "avx512-bf16")  # and how a process asks for the matrix unit is Linux's own
ARM: dict[str, tuple[str, ...]] = {"neon": ()}  # which every 64-bit ARM has
FEATURES = {"-mavx512bf16": "avx512_bf16", "-mamx-tile": "amx_tile", "-mamx-bf16": "amx_bf16"}  # Linux's names
# ziglang compiles its C++ library anew for every target, for a minute: our libraries need a handful of functions of it.
NO_RUNTIME = ("-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics", "-DSPIKESIGHT_NO_RUNTIME")


class System(NamedTuple):
    """An operating system on a kind of processor."""

    target: str  # ziglang's name of it, with the oldest version it runs on
    tag: str  # of a wheel
    isas: dict[str, tuple[str, ...]]


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
    """The key in `SYSTEMS` of this machine, or of what it would be called there.

    >>> this_system() in SYSTEMS or this_system().startswith("win")
    True
    """
    machine = platform.machine().lower()
    machine = {"amd64": "x86_64", "aarch64": "arm64"}.get(machine, machine)
    return f"{ {'darwin': 'macos'}.get(sys.platform, sys.platform) }-{machine}"


def isas() -> dict[str, tuple[str, ...]]:
    """The instruction sets of this kind of processor with their compiler flags, widest first."""
    name = this_system()
    if name in SYSTEMS:
        return SYSTEMS[name].isas
    return ARM if name.endswith("arm64") else X86 if name.endswith("x86_64") else {"portable": ()}


def cpu_flags() -> frozenset[str]:
    """The CPU's features by Linux's names; empty where the system does not say."""
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


@cache
def processor_name() -> str:
    """The processor with its family and model, as far as the system says."""
    if sys.platform == "darwin":
        done = subprocess.run(("sysctl", "-n", "machdep.cpu.brand_string"), capture_output=True, text=True)
        return done.stdout.strip() or platform.machine()
    try:
        return named_in(Path("/proc/cpuinfo").read_text())
    except OSError:
        return platform.processor() or platform.machine()


def named_in(cpuinfo: str) -> str:
    """The processor's name from the text of /proc/cpuinfo.

    >>> named_in("model name\\t: Fast CPU\\ncpu family\\t: 6\\nmodel\\t\\t: 207\\n")
    'Fast CPU (family 6, model 207)'
    """
    facts = dict(re.findall(r"^([^\t:\n]+?)\s*:\s*(.*)$", cpuinfo.split("\n\n")[0], re.MULTILINE))
    name = facts.get("model name") or platform.processor() or platform.machine()
    return f"{name} (family {facts['cpu family']}, model {facts['model']})" if "cpu family" in facts else name


def supported_isas() -> tuple[str, ...]:
    """The instruction sets this CPU has, widest first; the last one is every such processor's."""
    have = cpu_flags()
    needs = {isa: {FEATURES.get(flag, flag.removeprefix("-m")) for flag in flags} for isa, flags in isas().items()}
    return tuple(isa for isa, names in needs.items() if names <= have)


def find_compilers() -> list[tuple[str, ...]]:
    """The commands of C++ compilers in the order to try: `CXX` alone, or the system's and the package ziglang's."""
    if chosen := os.environ.get("CXX"):
        return [(path,)] if (path := shutil.which(chosen)) else []
    found: list[tuple[str, ...]] = [(path,) for name in COMPILERS if (path := shutil.which(name))]
    ziglang = [(sys.executable, "-m", "ziglang", "c++")] if find_spec("ziglang") else []
    return [*found[:1], *ziglang]


def compiler_name(command: tuple[str, ...]) -> str:
    """What a person calls it.

    >>> compiler_name(("/usr/bin/g++",)), compiler_name(("/usr/bin/python3", "-m", "ziglang", "c++"))
    ('g++', 'ziglang')
    """
    return Path(command[0]).name if len(command) == 1 else command[2]


def fingerprint(*more: object) -> str:
    """A digest of the sources and of whatever else a library depends on, 24 digits."""
    digest = hashlib.sha256(repr((FLAGS, NO_RUNTIME, more)).encode())
    for path in sorted(SOURCES.rglob("*.*")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:24]


def run(command: list[str], compiler: str) -> None:
    """One command of a compiler. Raises OSError with what it says."""
    limited = ["sh", "-c", f'ulimit -t {COMPILE_SECONDS}; exec "$@"', "sh", *command]
    done = subprocess.run(limited, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{compiler} failed: {complaint(done.stderr + done.stdout, done.returncode)}")


def complaint(said: str, code: int) -> str:
    """The line of a compiler's output that says what is wrong, or how it ended.

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
    """Compile the sources, side by side in `folder`, and link them into `target`. Raises OSError with the reason."""
    name, driver, flags, last = compiler_name(compiler), list(compiler), [*FLAGS, *isa_flags], ["-shared", "-pthread"]
    if name == "ziglang" and system in SYSTEMS:  # without them it takes this machine and the C++ library
        driver[-1] = "cc"
        place = ["-target", SYSTEMS[system].target]
        flags, last = [*flags, *place, *NO_RUNTIME], [*last, *place, "-s"]
    units = sorted(SOURCES.rglob("*.cpp"))
    objects = [folder / f"{unit.stem}.o" for unit in units]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        commands = [[*compiler, "-c", *flags, str(unit), "-o", str(made)] for unit, made in zip(units, objects)]
        list(pool.map(run, commands, [name] * len(commands)))
    run([*driver, *last, *map(str, objects), "-o", str(target)], name)
