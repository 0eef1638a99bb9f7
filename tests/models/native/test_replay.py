"""A plan replayed by a program of its own, slow: under qemu for arm64 it has the bits of this machine's library, and
under ThreadSanitizer nothing is written unseen by calls that share their work.

apt install qemu-user libc6-arm64-cross; pip install ziglang; pytest -m slow tests/models/native/test_replay.py
"""

import ctypes
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from spikesight.models.engine.engine import MEMBRANES, Engine
from spikesight.models.native.build import POINTER, build, library
from spikesight.models.native.targets import FLAGS, NO_RUNTIME, SOURCES, SYSTEMS, compile_library
from tests.support.models import lively
from tests.support.networks import EVENT, inputs

EMULATOR, LIBC = shutil.which("qemu-aarch64"), Path("/usr/aarch64-linux-gnu")
ZIGLANG = (sys.executable, "-m", "ziglang", "c++")
DRIVER = Path(__file__).with_name("replay.cpp")
lacking = [
    name
    for name, there in (
        ("qemu-user", EMULATOR),
        ("libc6-arm64-cross", LIBC.is_dir()),
        ("ziglang", find_spec("ziglang")),
        ("a processor with AVX2", build().isa.startswith("avx")),  # whose multiply-adds are fused, as NEON's are
    )
    if not there
]


def with_offsets(structure: ctypes.Structure, places: dict[int, int]) -> bytes:
    """The structure's bytes, each pointer replaced by one more than the offset of what it leads to."""
    copy = type(structure).from_buffer_copy(structure)
    for name, kind, *_ in type(structure)._fields_:
        value = getattr(copy, name)
        if kind is POINTER:
            setattr(copy, name, places[value] + 1 if value else None)
        elif isinstance(value, ctypes.Structure):
            setattr(copy, name, type(value).from_buffer_copy(with_offsets(value, places)))
    return bytes(copy)


def write_plan(engine: Engine, x_seq: torch.Tensor, path: Path) -> None:
    """The engine's plan and its input as replay.cpp reads them."""
    plan, places, numbers = engine.plan, dict[int, int](), bytearray()
    for tensor in plan.held:
        places[tensor.data_ptr()] = len(numbers)
        data = tensor.view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        numbers += data + bytes(-len(data) % 64)
    pixels = x_seq.numpy().tobytes()
    counts = (len(plan.buffers), len(plan.layers), len(numbers), *x_seq.shape[:2], len(pixels))
    head = np.array([*counts, plan.state_size, plan.classes, plan.spike_layers], dtype=np.int64)
    structures = [*plan.buffers, *plan.layers, plan.readout]
    parts = [head.tobytes(), *(with_offsets(one, places) for one in structures), bytes(numbers), pixels]
    path.write_bytes(b"".join(parts))


@pytest.mark.slow
@pytest.mark.skipif(bool(lacking), reason=f"not here: {', '.join(lacking)}")
def test_arm64_has_the_same_bits(tmp_path: Path) -> None:
    place = ("-target", SYSTEMS["linux-arm64"].target)
    compile_library(ZIGLANG, "linux-arm64", (), tmp_path / "libkernels.so", tmp_path)
    made = tmp_path / "replay.o"
    subprocess.run([*ZIGLANG, "-c", *place, *NO_RUNTIME, f"-I{SOURCES / 'engine'}", DRIVER, "-o", made], check=True)
    program = tmp_path / "replay"
    link = [*ZIGLANG[:-1], "cc", *place, made, f"-L{tmp_path}", "-lkernels", "-o", program]
    subprocess.run(link, check=True)
    network = lively(replace(EVENT, widths=(16, 48)))  # which no matrix unit takes: it sums in another order
    engine, x_seq = Engine(network, 17, 13), inputs(6, 2).contiguous()
    write_plan(engine, x_seq, tmp_path / "plan")
    emulated = [str(EMULATOR), "-L", str(LIBC), "-E", f"LD_LIBRARY_PATH={tmp_path}", str(program)]
    subprocess.run([*emulated, tmp_path / "plan", tmp_path / "result"], check=True)
    here = engine.run(x_seq)
    assert here.logits.abs().max() > 0
    expected = [here.logits.numpy().tobytes(), here.state[MEMBRANES].numpy().tobytes(), here.synops.numpy().tobytes()]
    assert (tmp_path / "result").read_bytes() == b"".join(expected)


COMPILER = shutil.which("g++")
CLEAN = "int main() { return 0; }"


def compile_with(sanitiser: str, program: Path, *sources: Path) -> bool:
    """Whether this machine's compiler has the sanitiser and made the program."""
    flags = [flag for flag in FLAGS if flag not in ("-O3", "-fPIC")]
    command = [str(COMPILER), *flags, "-O1", f"-fsanitize={sanitiser}", f"-I{SOURCES / 'engine'}", *map(str, sources)]
    return subprocess.run([*command, "-o", str(program)], capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None or library() is None, reason="g++ and the engine are needed")
@pytest.mark.parametrize("sanitiser", ["thread", "address,undefined"])
def test_calls_that_share_their_work_do_not_race(sanitiser: str, tmp_path: Path) -> None:
    (tmp_path / "clean.cpp").write_text(CLEAN)
    if not compile_with(sanitiser, tmp_path / "clean", tmp_path / "clean.cpp"):
        pytest.skip(f"no {sanitiser} sanitiser here")
    program = tmp_path / "replay"
    assert compile_with(sanitiser, program, DRIVER, SOURCES / "engine" / "engine.cpp")
    network = lively(replace(EVENT, block="sew", pool="max", widths=(64, 80)))
    for streams in (1, 5):
        write_plan(Engine(network, 37, 29), inputs(3, streams, size=(37, 29)).contiguous(), tmp_path / "plan")
        results = []
        for threads in ((), ("2",), ("3",)):
            done = subprocess.run(
                [program, tmp_path / "plan", tmp_path / "result", *threads],
                env={"ASAN_OPTIONS": "detect_leaks=0"},
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr[:2000]
            results.append((tmp_path / "result").read_bytes())
        assert results[0] == results[1] == results[2]
