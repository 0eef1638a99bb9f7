"""Where the kernels come from: the wheel's library for this processor, a compiler, or nowhere, and then why."""

import shutil
import sys
from pathlib import Path

import pytest

from models.engine.engine import engine_status
from models.native import build, targets
from tests.support.processes import in_fresh_process

STATUS = "from models.engine.engine import engine_status; print(engine_status())"


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.skipif(build.library() is None, reason=engine_status())
def test_a_wheels_library_is_taken_where_no_compiler_is(tmp_path: Path) -> None:
    made = build.build()
    assert made.library is not None
    shutil.copy(made.library._name, tmp_path / f"{made.isa}.so")
    code = f"import models.native.build as b, pathlib; b.PREBUILT = pathlib.Path({str(tmp_path)!r})\n{STATUS}"
    line = in_fresh_process(code, CXX="no-such-compiler", SPIKESIGHT_CACHE=str(tmp_path / "cache"))
    assert line.startswith(f"native kernels: {made.isa}, prebuilt")
    assert not (tmp_path / "cache").exists()
    nothing = in_fresh_process(code, CXX="no-such-compiler", SPIKESIGHT_NATIVE="compile")
    assert "no C++ compiler" in nothing


def test_a_library_that_does_not_load_is_compiled_anew(tmp_path: Path) -> None:
    isa = targets.supported_isas()[0]
    (tmp_path / f"{isa}.so").write_bytes(b"no library")
    code = f"import models.native.build as b, pathlib; b.PREBUILT = pathlib.Path({str(tmp_path)!r})\n{STATUS}"
    assert "no C++ compiler" in in_fresh_process(code, CXX="no-such-compiler")


@pytest.mark.parametrize(
    ("does", "words"),
    [
        ("echo 'a.h:1: fatal error: no such header' >&2; echo 'compilation terminated.' >&2; exit 1", "no such header"),
        ("echo 'cannot write' ; exit 1", "failed: cannot write"),
        ("exit 3", "ended with code 3 and said nothing"),
        ("kill -9 $$", "ended by signal 9"),
    ],
)
def test_a_compiler_that_fails_is_quoted(tmp_path: Path, does: str, words: str) -> None:
    compiler = program(tmp_path / "bad++", f'[ "$1" = --version ] && exit 0\n{does}')
    line = in_fresh_process(STATUS, CXX=str(compiler), SPIKESIGHT_CACHE=str(tmp_path))
    assert "bad++ failed" in line
    assert words in line
    assert "\n" not in line


def test_after_a_compiler_that_fails_comes_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[str, ...]] = []

    def refuse(_: str, compiler: tuple[str, ...]) -> Path:
        tried.append(compiler)
        raise OSError(f"{compiler[0]} has no headers")

    monkeypatch.setattr(build, "find_compilers", lambda: [("g++",), ("zig",)])
    monkeypatch.setattr(build, "compile_kernels", refuse)
    with pytest.raises(OSError, match=r"g\+\+ has no headers; zig has no headers"):
        build.compiled("portable")
    assert len(tried) == 2


def test_a_macs_features_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "FPU VME SSE FMA POPCNT AVX1.0 RDRAND F16C\nRDWRFSGS BMI1 AVX2 SMEP BMI2 ERMS"
    program(tmp_path / "sysctl", f"echo '{said}'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(targets.platform, "machine", lambda: "x86_64")
    assert targets.this_system() == "macos-x86_64"
    assert targets.supported_isas() == ("avx2", "portable")
    monkeypatch.setattr(targets.platform, "machine", lambda: "arm64")
    assert targets.this_system() == "macos-arm64"
    assert targets.supported_isas() == ("neon",)


def test_only_linux_is_asked_for_the_matrix_unit() -> None:
    asking = {path.name for path in targets.SOURCES.iterdir() if "sys/syscall.h" in path.read_text()}
    assert asking == {"engine_matrix.h"}, "which asks where __AMX_BF16__ is defined"
    built = {
        name for name, made in targets.SYSTEMS.items() if any("-mamx-bf16" in flags for flags in made.isas.values())
    }
    assert built == {"linux-x86_64"}
