"""Mutants: every small fault that can be written into a source file, as a replaced piece of its text.

The operators are those of mutation testing (DeMillo, Lipton and Sayward 1978; Offutt et al. 1996, "An experimental
determination of sufficient mutant operators"): relations, arithmetic, logic, constants, and statements left out.
"""

import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RELATIONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
UNTOUCHED = (ast.Raise, ast.Assert, ast.Import, ast.ImportFrom, ast.JoinedStr)  # words, and what tells types


@dataclass(frozen=True)
class Mutant:
    """One fault: at `line` (from 1) of `path`, characters `begin` to `end` of the file's text become `after`."""

    path: str
    line: int
    begin: int
    end: int
    before: str
    after: str

    @property
    def package(self) -> str:
        """The package that it is in."""
        return self.path.partition("/")[0]

    def applied(self, source: str) -> str:
        """The source with the fault in it."""
        return source[: self.begin] + self.after + source[self.end :]

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {' '.join(self.before.split())} -> {' '.join(self.after.split())}"


def mutants(path: str, source: str) -> Iterator[Mutant]:
    """Every mutant of a file that still compiles."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def offset(line: int, column: int) -> int:
        text = source[starts[line - 1] : starts[line]]
        return starts[line - 1] + len(text.encode()[:column].decode())

    for node in code(ast.parse(source)):
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        begin, end = offset(node.lineno, node.col_offset), offset(node.end_lineno, node.end_col_offset)
        for after in faults(node):
            yield Mutant(path, node.lineno, begin, end, source[begin:end], after)


def code(node: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """What runs: not annotations, docstrings, words of errors."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, UNTOUCHED) or only_types(child):
                continue
            if isinstance(child, ast.expr | ast.stmt):
                yield child
            yield from code(child)


def only_types(node: ast.AST) -> bool:
    """A block for type checkers, or a name for a type."""
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    return isinstance(node, ast.Assign) and ast.unparse(node.value).startswith(("TypeVar(", "Literal[", "Callable["))


def faults(node: ast.expr | ast.stmt) -> Iterator[str]:
    """What could stand in a node's place."""
    match node:
        case ast.Compare(ops=[first, *rest]):
            yield text(ast.Compare(node.left, [RELATIONS[type(first)](), *rest], node.comparators))
        case ast.BinOp(op=op) if type(op) in ARITHMETIC and not words(node):
            yield text(ast.BinOp(node.left, ARITHMETIC[type(op)](), node.right))
        case ast.BoolOp(op=op):
            yield text(ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), node.values))
        case ast.UnaryOp(op=ast.Not()):
            yield text(node.operand)
        case ast.IfExp():
            yield text(ast.IfExp(node.test, node.orelse, node.body))
        case ast.Constant(value=bool(value)):
            yield str(not value)
        case ast.Constant(value=int(value)):
            yield str(value + 1)
        case ast.Constant(value=float(value)):
            yield str(value * 2 if value else 1.0)
        case ast.AugAssign() | ast.Expr(value=ast.Call() | ast.Await()) | ast.Continue() | ast.Break():
            yield "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "pass"


def words(node: ast.BinOp) -> bool:
    """Whether text is put together, or types."""
    sides = (node.left, node.right)
    return any(
        isinstance(side, ast.JoinedStr) or (isinstance(side, ast.Constant) and not number(side)) for side in sides
    )


def number(node: ast.Constant) -> bool:
    return isinstance(node.value, int | float)


def text(node: ast.expr) -> str:
    """The expression, in brackets: it may stand anywhere."""
    return f"({ast.unparse(node)})"


def sample(root: Path, package: str, count: int, seed: int) -> list[Mutant]:
    """`count` mutants of a package: places are drawn evenly from all there are, every place at most once."""
    every: list[Mutant] = []
    for path in sorted((root / package).rglob("*.py")):
        every += mutants(path.relative_to(root).as_posix(), path.read_text())
    chosen = random.Random(f"{package} {seed}").sample(every, min(count, len(every)))
    return sorted(chosen, key=lambda mutant: (mutant.path, mutant.line))
