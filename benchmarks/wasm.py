"""Compile the engine to WebAssembly: `engine.wasm`, kept in the repository so that exporting a page needs no compiler.

After a change of the kernels, run `python -m benchmarks.wasm` (`pip install ziglang`). The file's last
section holds a digest of the sources and the compiler's version.
"""

import hashlib
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from spikesight.encoders.native.targets import FLAGS, INCLUDES, NETWORK_KERNELS, NO_RUNTIME, run, sources
from spikesight.models.export.block import WEB

ENGINE = WEB / "engine.wasm"
UNITS = [NETWORK_KERNELS / f"{name}.cpp" for name in ("engine/engine", "engine/browser", "runtime")]
TARGET = ("-target", "wasm32-wasi")
WHERE = (*TARGET, "-msimd128", "-mbulk-memory")
HOW = (*WHERE, *(flag for flag in FLAGS if flag not in ("-fPIC", "-pthread")), *NO_RUNTIME)
LINK = (*TARGET, "-mexec-model=reactor", "-s")
SECTION = "made of"


def made_of() -> str:
    """Return the SHA-256 digest of the sources and the compiler flags, in hexadecimal."""
    digest = hashlib.sha256(repr((HOW, LINK)).encode())
    for path in [*UNITS, *sources("*.h")]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def section(said: str) -> bytes:
    """Return a custom WebAssembly section with this text, which engines ignore and `said_of` reads."""
    content = bytes([len(SECTION)]) + SECTION.encode() + said.encode()
    return bytes([0, len(content)]) + content


def said_of(module: bytes) -> str:
    """Return the text of the section that `section` added to a WebAssembly module; empty if there is none."""
    return module.rpartition(bytes([len(SECTION)]) + SECTION.encode())[2].decode() if SECTION.encode() in module else ""


def compiler() -> str:
    """Return the installed compiler's name and version. Raises PackageNotFoundError without ziglang."""
    return f"ziglang {version('ziglang')}"


def compile_wasm(target: Path) -> None:
    """Compile the engine into the file `target`. Raises OSError with the compiler's error."""
    zig = [sys.executable, "-m", "ziglang"]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        objects = [str(Path(folder) / f"{unit.stem}.o") for unit in UNITS]
        commands = [[*zig, "c++", "-c", *HOW, *INCLUDES, str(unit), "-o", made] for unit, made in zip(UNITS, objects)]
        list(pool.map(run, commands, ["ziglang"] * len(commands)))
        module = Path(folder) / "engine.wasm"
        run([*zig, "cc", *LINK, *objects, "-o", str(module)], "ziglang")
        target.write_bytes(module.read_bytes() + section(f"{made_of()} {compiler()}"))


if __name__ == "__main__":
    compile_wasm(ENGINE)
    print(f"{ENGINE}: {ENGINE.stat().st_size} bytes")
