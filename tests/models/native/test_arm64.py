"""The library for arm64, run under qemu: a whole network has the bits of this machine's library.

apt install qemu-user libc6-arm64-cross; pip install ziglang; pytest -m slow tests/models/native/test_arm64.py
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
from spikesight.models.native.build import POINTER, build
from spikesight.models.native.targets import NO_RUNTIME, SOURCES, SYSTEMS, compile_library
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
