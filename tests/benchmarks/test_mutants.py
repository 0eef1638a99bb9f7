"""Faults that are written into sources: which ones, and where."""

import pytest

from benchmarks.mutants.make import mutants

SOURCE = '''"""Ä docstring with 3 and a < b."""

from math import pi

LIMIT: int = 4


async def größe(a: int, b: float = 0.5) -> bool:
    """Not 1."""
    if a < LIMIT and not b:
        raise ValueError(f"{a + 1} is too small: 7")
    a += 1
    with lock, open(rest) as file:
        print(file, sep=rest)
    await file.ready
    return (await file.found(1)) if a in (1,) else False
'''


def faults(source: str) -> set[tuple[str, str]]:
    return {(one.before, one.after) for one in mutants("a.py", source)}


def test_every_kind_of_fault_and_none_in_numbers_and_text() -> None:
    given, other = "(await file.found(1)) if a in (1,) else False", "(False if a in (1,) else await file.found(1))"
    assert faults(SOURCE) == {
        ("a < LIMIT and not b", "False"),
        ("a < LIMIT and not b", "(a < LIMIT or not b)"),
        ("a < LIMIT", "(a >= LIMIT)"),
        ("not b", "(b)"),
        ("a += 1", "pass"),
        ("lock", '__import__("contextlib").nullcontext()'),
        ("print(file, sep=rest)", "pass"),
        ("await file.ready", "pass"),
        ("await file.ready", "(file.ready)"),
        ("await file.found(1)", "(file.found(1))"),
        (given, other),
        ("a in (1,)", "(a not in (1,))"),
    }


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("a // b", {("a // b", "(a * b)")}),
        ("a is b", {("a is b", "(a is not b)")}),
        ("f(a, b, c=1)", {("f(a, b, c=1)", "(f(b, a, c=1))"), ("f(a, b, c=1)", "pass")}),
        ("x = torch.cat(parts, 1)", {("torch.cat(parts, 1)", "(torch.cat(1, parts))"), ("1", "0")}),
        ("x = y.mean(0)", {("0", "1")}),
        ("x = f(y, dim=-1)", {("-1", "0")}),
        *((source, set()) for source in ("x = f(*a, b)", "x = f(a, a)", "x = range(3)")),
    ],
)
def test_what_stands_in_the_place(source: str, found: set[tuple[str, str]]) -> None:
    assert faults(source) == found
