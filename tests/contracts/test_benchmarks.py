"""`make bench` runs what is there: every module that it names can be run, and every benchmark is one of them."""

import ast
import re
import shutil
import subprocess

import pytest

from tests.support.processes import ROOT


def named() -> list[str]:
    """Modules that `make bench` would run."""
    if shutil.which("make") is None:
        pytest.skip("there is no make here")
    dry = subprocess.run(["make", "-n", "bench"], cwd=ROOT, capture_output=True, text=True, check=True)
    loop = re.search(r"for name in (.+?);", dry.stdout)
    assert loop is not None, dry.stdout
    return loop.group(1).split()


def is_main(test: ast.expr) -> bool:
    return ast.unparse(test) == "__name__ == '__main__'"


def test_every_name_is_a_module_that_runs() -> None:
    names = named()
    assert len(names) > 5
    for name in names:
        path = ROOT / "benchmarks" / f"{name.replace('.', '/')}.py"
        tree = ast.parse(path.read_text())
        assert any(isinstance(node, ast.If) and is_main(node.test) for node in tree.body), f"{path} runs nothing"


def test_every_benchmark_is_named() -> None:
    files = {path.stem for path in (ROOT / "benchmarks").glob("[a-z]*.py")}
    assert files <= set(named())
