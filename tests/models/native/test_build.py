"""Kernels: where they come from, what a process may use; and a plan replayed by a program of its own (slow)."""

import ctypes
import math
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from spikesight.encoders import events
from spikesight.encoders.native import build, targets
from spikesight.encoders.native.build import POINTER, library
from spikesight.encoders.native.targets import FLAGS, NO_RUNTIME, SOURCES, SYSTEMS, compile_library
from spikesight.models.engine.engine import MEMBRANES, Engine, engine_status
from spikesight.models.native.memory import give_back, keep_membranes
from spikesight.models.native.threads import granted, quota, threads, use_threads
from tests.support.models import lively
from tests.support.networks import EVENT, inputs
from tests.support.processes import in_fresh_process
from tests.support.serving.servers import resident


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def found(monkeypatch: pytest.MonkeyPatch, folder: Path, **environment: str) -> build.Build:
    """What a process finds whose wheel has its libraries in a folder, with a cache beside them."""
    monkeypatch.setattr(build, "PREBUILT", folder)
    for name, value in {"SPIKESIGHT_CACHE": str(folder / "cache"), **environment}.items():
        monkeypatch.setenv(name, value)
    return build.load.__wrapped__()


@pytest.mark.skipif(build.library() is None, reason=engine_status())
def test_a_wheels_library_is_taken_where_no_compiler_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = build.build()
    assert made.library is not None
    shutil.copy(made.library._name, tmp_path / f"{made.isa}.so")
    taken = found(monkeypatch, tmp_path, CXX="no-such-compiler")
    assert (taken.isa, taken.reason) == (made.isa, "prebuilt")
    assert taken.library is not None
    assert taken.library._name == str(tmp_path / f"{made.isa}.so")
    assert not (tmp_path / "cache").exists()
    nothing = found(monkeypatch, tmp_path, CXX="no-such-compiler", SPIKESIGHT_NATIVE="compile")
    assert nothing.library is None
    assert "no C++ compiler" in nothing.reason


def test_a_library_that_does_not_load_is_compiled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    isa = targets.supported_isas()[0]
    (tmp_path / f"{isa}.so").write_bytes(b"no library")
    assert "no C++ compiler" in found(monkeypatch, tmp_path, CXX="no-such-compiler").reason


@pytest.mark.parametrize(
    ("does", "words"),
    [
        ("echo 'a.h:1: fatal error: no such header' >&2; echo 'compilation terminated.' >&2; exit 1", "no such header"),
        ("echo 'cannot write' ; exit 1", "failed: cannot write"),
        ("exit 3", "ended with code 3 and said nothing"),
        ("kill -9 $$", "ended by signal 9"),
    ],
)
def test_a_failing_compiler_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, words: str) -> None:
    compiler = program(tmp_path / "bad++", f'[ "$1" = --version ] && exit 0\n{does}')
    nothing = found(monkeypatch, tmp_path, CXX=str(compiler))
    assert nothing.library is None
    assert "bad++ failed" in nothing.reason
    assert words in nothing.reason
    assert "\n" not in nothing.reason


def test_without_a_library_events_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = build.Build(None, "none", "no C++ compiler was found: install g++, or pip install ziglang")
    monkeypatch.setattr(build, "load", lambda: nothing)
    monkeypatch.setattr(events, "function", build.function.__wrapped__)
    with pytest.raises(build.NoKernelsError, match="install g\\+\\+, or pip install ziglang"):
        events.count_backward(events.empty_events())


def test_a_macs_features_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "FPU VME SSE FMA POPCNT AVX1.0 RDRAND F16C\nRDWRFSGS BMI1 AVX2 SMEP BMI2 ERMS"
    program(tmp_path / "sysctl", f"echo '{said}'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(targets.platform, "machine", lambda: "x86_64")
    assert (targets.this_system(), targets.supported_isas()) == ("macos-x86_64", ("avx2", "portable"))
    monkeypatch.setattr(targets.platform, "machine", lambda: "arm64")
    assert (targets.this_system(), targets.supported_isas()) == ("macos-arm64", ("neon",))


def test_a_switch_and_a_wish_that_this_processor_cannot_grant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKESIGHT_NATIVE", "0")
    assert build.build.__wrapped__() == (None, "none", "switched off by SPIKESIGHT_NATIVE=0")
    other = found(monkeypatch, tmp_path, SPIKESIGHT_NATIVE="1", SPIKESIGHT_ISA="pdp11")
    assert (other.library, other.isa) == (None, "none")
    assert other.reason.startswith(f"SPIKESIGHT_ISA=pdp11: this CPU has {targets.supported_isas()[0]}")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What was compiled in place of libraries, by a compiler that is `tmp_path / "g++"`."""
    targets_made: list[Path] = []

    def compiled(_: object, __: object, flags: tuple[str, ...], target: Path, folder: Path) -> None:
        targets_made.append(target)
        assert target.parent == folder
        target.write_text(str(flags))

    monkeypatch.setattr(build, "compile_library", compiled)
    program(tmp_path / "g++", "echo 1.0")
    return targets_made


def test_kernels_are_kept_by_their_inputs(tmp_path: Path, made: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKESIGHT_CACHE", str(tmp_path))
    compiler, isa = (str(tmp_path / "g++"),), targets.supported_isas()[-1]
    first = build.compile_kernels(isa, compiler)
    assert first.read_text() == str(targets.isas()[isa])
    assert [path.name for path in (tmp_path / "native").iterdir()] == [first.name]
    assert build.compile_kernels(isa, compiler) == first
    assert len(made) == 1
    program(tmp_path / "g++", "echo 2.0")
    assert build.compile_kernels(isa, compiler) != first, "another version of the compiler"
    assert (tmp_path / "native").stat().st_mode & 0o077 == 0


def test_without_cache_all_share_a_library(tmp_path: Path, made: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SPIKESIGHT_CACHE", str(tmp_path / "file" / "no folder"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    compiler, isa = (str(tmp_path / "g++"),), targets.supported_isas()[-1]
    first = build.compile_kernels(isa, compiler)
    assert build.compile_kernels(isa, compiler) == first
    assert len(made) == 1
    first.parent.chmod(0o777)
    with pytest.raises(OSError, match="belongs to somebody else"):
        build.compile_kernels(isa, compiler)


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 100000\n"}, 2),
        ("3:cpu,cpuacct:/x\n", {"cpu/x/cpu.cfs_quota_us": "50000\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, 0.5),
        ("3:cpu,cpuacct:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("4:cpuset:/x\n", {"cpu/x/cpu.cfs_quota_us": "50000\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("", {}, math.inf),
    ],
)
def test_the_least_share_counts(own: str, files: dict[str, str], expected: float, tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text(own)
    for name, text in files.items():
        path = tmp_path / "mounted" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert quota(tmp_path / "cgroup", tmp_path / "mounted") == expected


@pytest.mark.parametrize("text", ["", "0", "-2", "all"])
def test_what_says_nothing_leaves_the_machines_cores(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = granted()
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert granted() == cores >= 1
    for told, expected in (("3", 3), ("64,4", 64)):
        monkeypatch.setenv("OMP_NUM_THREADS", told)
        assert granted() == expected


def test_a_call_uses_as_many_as_pytorch_unless_told() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert threads() == 1
        use_threads(7)
        assert threads() == 7
        use_threads(None)
        assert threads() == 1
    finally:
        use_threads(None)
        torch.set_num_threads(before)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library: its allocator is left as it is")
def test_what_is_free_below_what_lives_on_goes_back() -> None:
    assert keep_membranes()
    blocks = [np.ones(2**18, np.float32) for _ in range(40)]
    last = np.ones(2**18, np.float32)
    before = resident()
    blocks.clear()
    held = resident()
    assert give_back()
    assert resident() < min(before, held) - 20 * 2**20
    assert last.all()


def test_keeping_memory_respects_the_user() -> None:
    code = "from spikesight.models.native.memory import keep_memory; print(keep_memory())"
    assert in_fresh_process(code, MALLOC_ARENA_MAX="2") == "False"
    assert in_fresh_process(code) in ("True", "False")


EMULATOR, LIBC = shutil.which("qemu-aarch64"), Path("/usr/aarch64-linux-gnu")
ZIGLANG = (sys.executable, "-m", "ziglang", "c++")
DRIVER = Path(__file__).with_name("replay.cpp")
lacking = [
    name
    for name, there in (
        ("qemu-user", EMULATOR),
        ("libc6-arm64-cross", LIBC.is_dir()),
        ("ziglang", find_spec("ziglang")),
        ("a processor with AVX2", build.build().isa.startswith("avx")),  # whose multiply-adds are fused, as NEON's are
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
        for helpers in ((), ("2",), ("3",)):
            command = [program, tmp_path / "plan", tmp_path / "result", *helpers]
            done = subprocess.run(command, env={"ASAN_OPTIONS": "detect_leaks=0"}, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr[:2000]
            results.append((tmp_path / "result").read_bytes())
        assert results[0] == results[1] == results[2]
