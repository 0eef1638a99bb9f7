"""The folder of C: compiled here, it answers as Python does, bit for bit, and stays whole on anything that a camera may
send it; on other processors, under QEMU, its logits have the same bits.

apt install qemu-user qemu-system-arm; pip install ziglang; pytest -m slow tests/app/test_c_folder.py
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spikesight.app import c_folder
from spikesight.app.c_folder import STRICT, c_compiler, compile_c, export_c, logits_in_python, rounding_flags, run_steps
from spikesight.app.cli import main
from spikesight.encoders.emulator.saccades import saccade_events
from spikesight.encoders.events import SensorSize
from spikesight.encoders.native.build import build
from spikesight.models.checkpoint import load, save
from spikesight.models.classifier.inputs import InputPipeline
from spikesight.models.contract import Card, Contract
from spikesight.models.export.c_source import TEMPLATE
from spikesight.models.export.parity import ExportError, example_inputs
from spikesight.models.networks.resnet import ResNetConfig
from spikesight.models.networks.taught import TaughtConfig, TaughtNetwork
from spikesight.models.neurons.config import CLIF, IF, PLIF, SLIDING_PSN, NeuronConfig
from spikesight.models.neurons.layers import at_pace
from spikesight.models.shipped import find
from tests.support import c_folder as support
from tests.support.c_folder import CARD, CONFIG, assert_same, c_answers, camera_words, decoded, made, python_answers
from tests.support.inputs.formats import nmnist_records
from tests.support.models import ann, lively

CONTRACT = CARD.contract
HARD = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
pytestmark = pytest.mark.skipif(
    not c_compiler() or build().library is None, reason="not here: a C compiler, or the kernels that C is held against"
)


@cache
def hardened() -> tuple[str, ...]:
    """The flags of a build that ends at any fault, as far as the compiler here has it."""
    command = [*c_compiler(), *HARD, "-x", "c", "-", "-o", "/dev/null"]
    made = subprocess.run(command, input=b"int main(void) { return 0; }", capture_output=True)
    return HARD if made.returncode == 0 else ("-O1",)


def some_inputs(contract: Contract, steps: int = 12) -> Tensor:
    """Inputs [T, C, H, W] of 0 to 3 events a cell, or normal pixels."""
    x_seq = example_inputs(contract, steps, 1)[:, 0]
    if contract.kind == "image":
        return x_seq
    return (x_seq + x_seq.roll(1, 0) + x_seq.roll(1, 3)).to(torch.uint8)


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        replace(CONFIG, block="sew", neuron=PLIF, downsample="max"),
        replace(CONFIG, block="plain", shortcut="pad", pool="avg", neuron=IF),
        replace(CONFIG, block="sew", shortcut="pad", pool="none", neuron=SLIDING_PSN),
        replace(CONFIG, bottleneck=True, stem="imagenet", neuron=CLIF),
        replace(CONFIG, downsample="max", neuron=NeuronConfig(0.8, reset="zero")),
    ],
    ids=lambda config: f"{config.block}-{config.pool}-{config.neuron.kind}",
)
def test_a_step_has_the_bits_of_the_engine(config: ResNetConfig, tmp_path: Path) -> None:
    network, x_seq = lively(config), some_inputs(CONTRACT)
    found = run_steps([str(made(tmp_path / "c", network))], x_seq)
    assert np.ptp(found, 0).min() > 0
    assert np.array_equal(found, logits_in_python(network, x_seq[:, None]))


def test_pixels_have_the_bits_of_the_engine(tmp_path: Path) -> None:
    network, card = lively(replace(CONFIG, in_channels=1)), Card(Contract("image", 1, 15, 14, 4, "direct"), CARD.labels)
    x_seq = some_inputs(card.contract)
    found = run_steps([str(made(tmp_path / "c", network, card))], x_seq)
    assert np.array_equal(found, logits_in_python(network, x_seq[:, None]))


def test_weights_of_eight_bits_are_the_nearest_of_their_channel(tmp_path: Path) -> None:
    config, x_seq = replace(CONFIG, downsample="max", block="plain"), some_inputs(CONTRACT)
    network = lively(config)
    found = run_steps([str(made(tmp_path / "c", network, int8=True))], x_seq)
    near, exact = (logits_in_python(one, x_seq[:, None]) for one in (c_folder.with_rounded_weights(network), network))
    assert np.array_equal(found[:4], near[:4])
    assert not np.array_equal(near, exact)


@pytest.mark.parametrize(
    ("contract", "sensor"),
    [
        (replace(CONTRACT, encoding="binary"), SensorSize(26, 34)),
        (replace(CONTRACT, task="detection"), SensorSize(26, 34)),
        (replace(CONTRACT, filter_us=0), SensorSize(26, 34)),
        (CONTRACT, SensorSize(67, 101)),
    ],
    ids=["filtered", "a drawing's filter", "unfiltered", "a larger camera"],
)
def test_a_stream_is_answered_as_in_python(contract: Contract, sensor: SensorSize, tmp_path: Path) -> None:
    network = lively(CONFIG)
    card = support.calibrated(network, contract)
    program, seen = made(tmp_path / "c", network, card), set[tuple[str, str]]()
    for kind in ("evt2", "evt3", "nmnist"):
        words = camera_words(kind, 6000, min(sensor.width, sensor.height), len(kind))
        expected = python_answers(network, card, decoded(kind, words), sensor)
        assert_same(c_answers(program, kind, words, sensor), expected)
        seen |= {(answer.label, answer.committed) for answer in expected}
    assert len({label for label, _ in seen}) > 1
    agreed = contract.filter_us and sensor.width == contract.sensor_width  # where the label shown lets it commit
    assert not agreed or len({held for _, held in seen}) > 1


@pytest.mark.parametrize(("span_ms", "places", "of_input"), [(10, 2, 4), (4, 2, 4), (10, 3, 5), (10, 2, 0)])
def test_a_taught_network_follows_what_moves(span_ms: int, places: int, of_input: int, tmp_path: Path) -> None:
    contract = Contract("events", 2, 16, 16, 6, "binary", 45, 38, 10_000, frame="object", readout=1, filter_us=2000)
    backbone = replace(CONFIG, widths=(4, 8))
    config = TaughtConfig(backbone, 3, 6, slices=3, places=places, input_places=of_input, height=16, width=16)
    network = TaughtNetwork(config).eval()
    network.backbone.load_state_dict(lively(backbone).state_dict())
    nn.init.normal_(network.head.weight, generator=torch.Generator().manual_seed(1))
    card = replace(CARD, contract=replace(contract, shortest_bin_us=1000)).at(span_ms)
    paced, sensor = cast(TaughtNetwork, at_pace(network, card.contract.span)), SensorSize(45, 38)
    program, words = made(tmp_path / "c", paced, card), camera_words("evt2", 6000, 38, 2)
    expected = python_answers(paced, card, decoded("evt2", words), sensor)
    found = c_answers(program, "evt2", words, sensor)
    assert len({answer.label for answer in expected}) > 1
    assert [one._replace(logits=()) for one in found] == [one._replace(logits=()) for one in expected]
    assert np.allclose([one.logits for one in found], [one.logits for one in expected], atol=1e-4)


def test_a_shorter_bin_shows_what_came_in_the_trained_one(tmp_path: Path) -> None:
    contract = replace(CONTRACT, encoding="binary", shortest_bin_us=1000)
    network, card = lively(CONFIG), replace(CARD, contract=contract)
    save(tmp_path / "m", network, card)
    command = ["export", str(tmp_path / "m"), "--format", "c", "--bin-ms", "3", "--out", str(tmp_path / "c")]
    assert main(command) == 0
    program, words = compile_c(tmp_path / "c", c_compiler(), *rounding_flags()), camera_words("evt3", 4000, 26, 0)
    own = card.at(3)
    expected = python_answers(at_pace(network, own.contract.span), own, decoded("evt3", words), SensorSize(26, 34))
    assert_same(c_answers(program, "evt3", words, SensorSize(26, 34)), expected)


def test_digits_of_a_camera_are_answered_as_in_python(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    network, card = load(find("nmnist"))
    programs = [made(tmp_path / str(bits), network, card, "-O2", int8=bits == 8) for bits in (32, 8)]
    right = [0, 0]
    files = sorted(shared_data("nmnist/Test").rglob("*.bin"))[::2]
    for path in files:
        words, sensor = path.read_bytes(), SensorSize(34, 34)
        exact, rounded = (c_answers(program, "nmnist", words, sensor) for program in programs)
        assert_same(exact, python_answers(network, card, decoded("nmnist", words), sensor))
        for n, answers in enumerate((exact, rounded)):
            mean = np.mean([answer.logits for answer in answers[-card.contract.horizon :]], 0)
            right[n] += card.labels[int(mean.argmax())] == path.parent.name
    assert abs(right[0] - right[1]) <= 1


def test_whatever_a_camera_sends_the_program_stays_whole(tmp_path: Path) -> None:
    network = lively(CONFIG)
    program = made(tmp_path / "c", network, support.calibrated(network, CONTRACT), *hardened())
    random = np.random.default_rng(0)
    for n, (width, height) in enumerate(((26, 34), (52, 68), (1280, 720), (2048, 2048)) * 3):
        kind = ("evt2", "evt3", "nmnist")[n % 3]
        words = bytearray(camera_words(kind, 1500, 26, n) if n % 2 else random.bytes(6000))
        for at in random.integers(len(words), size=len(words) // 40):
            words[at] = int(random.integers(256))
        c_answers(program, kind, bytes(words), SensorSize(width, height))
    for wrong in (["evt2", "30", "34"], ["evt2", "-1", "34"], ["evt2", "99999999999", "34"], ["dat", "26", "34"], []):
        done = subprocess.run([program, *wrong], input=b"", capture_output=True)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_what_is_not_exported_is_said_and_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawing = replace(CONTRACT, task="detection", sensor_width=128, sensor_height=128)
    broken = lively(CONFIG)
    nn.init.constant_(broken.readout.bias, float("nan"))
    for network, contract, words in (
        (ann(), CONTRACT, "neurons of kind 'relu' do not go to C"),
        (lively(replace(CONFIG, spiking_readout=True)), CONTRACT, "whose logits are spikes"),
        (lively(CONFIG), drawing, "full frame is not in C"),
        (lively(CONFIG), replace(CONTRACT, pooled=True), "events are not summed in C"),
        (broken, CONTRACT, "not finite"),
    ):
        with pytest.raises(ExportError, match=words):
            export_c(network, replace(CARD, contract=contract), "model", tmp_path / "c")
    assert not list(tmp_path.iterdir())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for options, words in (
        (["--int8"], "--int8 is for --format c"),
        (["--format", "c", "--out", str(tmp_path / "full")], "not an empty folder"),
        (["--format", "c", "--out", str(tmp_path / "c")], ""),
    ):
        name = "mnist-converted" if not words else "nmnist"
        assert main(["export", name, *options]) == 2
        assert (words or "ConvertedNetwork is no spiking ResNet") in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_a_folder_holds_what_its_makefile_needs(tmp_path: Path) -> None:
    if not (make := shutil.which("make")):
        pytest.skip("not here: make")
    save(tmp_path / "m", lively(CONFIG), CARD)
    assert main(["export", str(tmp_path / "m"), "--format", "c", "--int8", "--out", str(tmp_path / "c")]) == 0
    subprocess.run([make, "-C", tmp_path / "c", f"CC={' '.join(c_compiler())}", "CFLAGS=-O1"], check=True)
    assert len(run_steps([str(tmp_path / "c" / "example")], some_inputs(CONTRACT))) == 12
    assert set(STRICT) <= set((TEMPLATE / "Makefile").read_text().split())


@pytest.mark.slow
def test_twice_rounded_sums_have_the_bits_of_the_portable_kernels() -> None:
    if build().isa == "neon":
        pytest.skip("not here: kernels without fused multiply-adds")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:schemathesis", __file__, "-k", "bits_of_the_engine"]
    subprocess.run(command, env={**os.environ, "SPIKESIGHT_ISA": "portable"}, check=True)


DRIVER = Path(__file__).with_name("cortex_m7.c")
HEADERS = {  # of the C library, which there is none of without an operating system
    "string.h": """#include <stddef.h>
void *memcpy(void *, const void *, size_t), *memmove(void *, const void *, size_t), *memset(void *, int, size_t);""",
    "math.h": """double exp(double), log(double), sqrt(double);
float fmaf(float, float, float), fabsf(float), sqrtf(float);
#define INFINITY __builtin_inff()""",
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
FUSED = pytest.mark.skipif(build().isa in ("portable", "none"), reason="not here: kernels with fused multiply-adds")


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


@FUSED
@pytest.mark.slow
def test_arm64_has_the_same_bits(tmp_path: Path) -> None:
    qemu, compiler, (network, card) = emulator("qemu-aarch64"), zig("aarch64-linux-musl"), load(find("nmnist"))
    export_c(network, card, "nmnist", tmp_path / "c")
    x_seq = example_inputs(card.contract, 10, 1).to(torch.uint8)
    found = run_steps([qemu, str(compile_c(tmp_path / "c", compiler, "-O2", "-static"))], x_seq[:, 0])
    assert np.array_equal(found, logits_in_python(network, x_seq))


@FUSED
@pytest.mark.slow
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
