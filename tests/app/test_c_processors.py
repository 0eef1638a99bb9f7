"""The folder of C on other processors, under QEMU: the logits have the bits that Python has here.

apt install qemu-user qemu-system-arm; pip install ziglang; pytest -m slow tests/app/test_c_processors.py
"""

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from subprocess import PIPE, STDOUT

import numpy as np
import pytest
import torch

from spikesight.app.c_folder import STRICT, compile_c, export_c, logits_in_python, run_steps
from spikesight.encoders.emulator.saccades import saccade_events
from spikesight.encoders.events import SensorSize
from spikesight.models.checkpoint import load
from spikesight.models.classifier.inputs import InputPipeline
from spikesight.models.export.parity import example_inputs
from spikesight.models.native.build import build
from spikesight.models.shipped import find
from tests.support.inputs.formats import nmnist_records

DRIVER = Path(__file__).with_name("cortex_m7.c")
HEADERS = {  # of the C library, which there is none of without an operating system
    "string.h": "#include <stddef.h>\nvoid *memcpy(void *, const void *, size_t), *memset(void *, int, size_t);",
    "math.h": "double exp(double), log(double), sqrt(double);\nfloat fmaf(float, float, float), fabsf(float);",
}
LAYOUT = """
MEMORY { FLASH : ORIGIN = 0, LENGTH = 4M  RAM : ORIGIN = 0x20000000, LENGTH = 4M }
SECTIONS {
  .text : { KEEP(*(.vectors)) *(.text*) *(.rodata*) } > FLASH
  /DISCARD/ : { *(.ARM.ex*) }
  .data : { *(.data*) } > RAM
  .bss (NOLOAD) : { *(.bss*) *(COMMON) } > RAM
}
stack_top = ORIGIN(RAM) + LENGTH(RAM);
ENTRY(reset)
"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(build().isa in ("portable", "none"), reason="not here: kernels with fused multiply-adds"),
]


def zig(target: str, *options: str) -> list[str]:
    """The command that compiles for another processor; skips where there is no ziglang."""
    if not find_spec("ziglang"):
        pytest.skip("not here: ziglang")
    return [sys.executable, "-m", "ziglang", "cc", "-target", target, *options]


def emulator(name: str) -> str:
    """The path of one of QEMU's; skips where it is absent."""
    if not (path := shutil.which(name)):
        pytest.skip(f"not here: {name}")
    return path


def test_arm64_has_the_same_bits(tmp_path: Path) -> None:
    qemu, compiler, (network, card) = emulator("qemu-aarch64"), zig("aarch64-linux-musl"), load(find("nmnist"))
    export_c(network, card, "nmnist", tmp_path / "c")
    x_seq = example_inputs(card.contract, 10, 1).to(torch.uint8)
    found = run_steps([qemu, str(compile_c(tmp_path / "c", compiler, "-O2", "-static"))], x_seq[:, 0])
    assert np.array_equal(found, logits_in_python(network, x_seq))


def test_a_cortex_m7_without_a_system_has_the_same_bits_in_20_million_instructions_a_step(tmp_path: Path) -> None:
    qemu, (network, card), folder = emulator("qemu-system-arm"), load(find("nmnist")), tmp_path / "c"
    compiler = zig("thumb-freestanding-eabihf", "-mcpu=cortex_m7+fp_armv8d16", "-T", str(tmp_path / "layout.ld"))
    export_c(network, card, "nmnist", folder)
    (tmp_path / "layout.ld").write_text(LAYOUT)
    for name, text in HEADERS.items():
        (tmp_path / name).write_text(text + "\n")
    sources, program = [DRIVER, folder / "spikesight.c", folder / "model.c"], tmp_path / "program.elf"
    subprocess.run([*compiler, *STRICT, "-O2", f"-I{tmp_path}", f"-I{folder}", *sources, "-o", program], check=True)
    digit = np.zeros((28, 28), np.uint8)
    digit[4:24, 13:16] = 255
    sensor = SensorSize(34, 34)
    events = saccade_events(digit, sensor, "digit", seed=0)
    (tmp_path / "recording.bin").write_bytes(nmnist_records(events).tobytes())
    machine = [qemu, "-M", "mps2-an500", "-nographic", "-semihosting", "-icount", "shift=0", "-kernel", str(program)]
    said = subprocess.run(machine, cwd=tmp_path, stdout=PIPE, stderr=STDOUT, text=True, check=True, timeout=300).stdout
    *answers, instructions = [[int(word, 16) for word in line.split()] for line in said.splitlines()]
    inputs = list(InputPipeline(card, sensor).stream([events]))
    expected = logits_in_python(network, torch.from_numpy(np.stack([given.x for given in inputs]))[:, None])
    assert [answer[0] for answer in answers] == [given.end_us for given in inputs]
    assert np.array_equal(np.array([answer[2:] for answer in answers], np.uint32).view(np.float32), expected)
    assert 0 < (instructions[0] << 32 | instructions[1]) < 20_000_000 * len(inputs)
