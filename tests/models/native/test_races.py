"""Calls that share their work among threads, several at once, under ThreadSanitizer: nothing is written unseen.

pytest -m slow tests/models/native/test_races.py
"""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from spikesight.models.engine.engine import Engine
from spikesight.models.native.build import library
from spikesight.models.native.targets import FLAGS, SOURCES
from tests.models.native.test_arm64 import DRIVER, write_plan
from tests.support.models import lively
from tests.support.networks import EVENT, inputs

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
