"""Where the kernels come from: the wheel's library for this processor, a compiler, or nowhere, and then why."""

import shutil
import sys
from pathlib import Path

import pytest

from models.engine.engine import engine_status
from models.native import build, targets


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def found(monkeypatch: pytest.MonkeyPatch, folder: Path, **environment: str) -> build.Build:
    """What a process finds whose wheel has its libraries in a folder, with a cache beside them."""
    monkeypatch.setattr(build, "PREBUILT", folder)
    for name, value in {"SPIKESIGHT_CACHE": str(folder / "cache"), **environment}.items():
        monkeypatch.setenv(name, value)
    return build.build.__wrapped__()


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
def test_a_compiler_that_fails_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, words: str
) -> None:
    compiler = program(tmp_path / "bad++", f'[ "$1" = --version ] && exit 0\n{does}')
    nothing = found(monkeypatch, tmp_path, CXX=str(compiler))
    assert nothing.library is None
    assert "bad++ failed" in nothing.reason
    assert words in nothing.reason
    assert "\n" not in nothing.reason


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
