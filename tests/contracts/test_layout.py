"""The layout: files of few lines, and types on every function."""

import ast
from pathlib import Path

from tests.support.processes import ROOT

PACKAGES = ("app", "encoders", "models", "service", "spikesight", "training")
MOST_LINES = 500
SOURCES = [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))]
COMPILERS = ("loop", "numba", "triton")  # they infer the types of what they compile


def test_no_file_is_longer_than_a_reader_gains_by() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in SOURCES}
    assert not {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n > MOST_LINES}


def untyped(path: Path) -> list[str]:
    """Functions without the type of a parameter or of what they return."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if any(ast.unparse(decorator).startswith(COMPILERS) for decorator in node.decorator_list):
                continue
            a = node.args
            named = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))]
            bare = [one for one in named if one.annotation is None and one.arg not in ("self", "cls")]
            if bare or node.returns is None:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    return found


def test_every_function_has_its_types() -> None:
    assert not [function for path in SOURCES for function in untyped(path)]
