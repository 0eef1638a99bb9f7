"""`make bench` runs what is there: every module that it names can be run, and every benchmark is one of them."""

import re
import shutil
import subprocess

import pytest

from tests.support.processes import ROOT


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_every_name_runs_and_every_benchmark_is_named() -> None:
    dry = subprocess.run(["make", "-n", "bench"], cwd=ROOT, capture_output=True, text=True, check=True)
    loop = re.search(r"for name in (.+?);", dry.stdout)
    assert loop is not None, dry.stdout
    names = loop[1].split()
    for name in names:
        source = (ROOT / "benchmarks" / f"{name.replace('.', '/')}.py").read_text()
        assert 'if __name__ == "__main__":' in source, f"{name} runs nothing"
    assert {path.stem for path in (ROOT / "benchmarks").glob("[a-z]*.py")} <= set(names)
