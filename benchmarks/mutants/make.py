"""Mutants: all small faults in behaviour that can be written into a source file, each by replacing a part of its text.

They are mistakes that programmers make: swapped arguments, a missing lock or await, another axis, a missing early
return, the other branch, a wrong sign, a missing statement (after DeMillo, Lipton and Sayward 1978). Numbers are not
changed: a test that pins a constant only copies the source.
"""

import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OPPOSITES: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
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
AXES = {
    "all", "amax", "amin", "any", "argmax", "argmin", "argsort", "cat", "concatenate", "cumsum", "flatten", "flip",
    "max", "mean", "min", "repeat", "roll", "softmax", "sort", "squeeze", "stack", "std", "sum", "transpose",
    "unsqueeze",
}  # fmt: skip
"""Functions whose positional integers are axes."""
NO_CONTEXT = '__import__("contextlib").nullcontext()'
UNTOUCHED = (ast.Raise, ast.Assert, ast.Import, ast.ImportFrom, ast.JoinedStr)  # messages, imports and assertions


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
        """Package of the mutated file."""
        return self.path.partition("/")[0]

    def applied(self, source: str) -> str:
        """Return the source with the fault written in."""
        return source[: self.begin] + self.after + source[self.end :]

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {' '.join(self.before.split())} -> {' '.join(self.after.split())}"


def mutants(path: str, source: str) -> Iterator[Mutant]:
    """Yield every mutant of a source file."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def offset(line: int, column: int) -> int:
        text = source[starts[line - 1] : starts[line]]
        return starts[line - 1] + len(text.encode()[:column].decode())

    for part in code(ast.parse(source)):
        for node, after in faults(part):
            assert node.end_lineno is not None
            assert node.end_col_offset is not None
            begin, end = offset(node.lineno, node.col_offset), offset(node.end_lineno, node.end_col_offset)
            yield Mutant(path, node.lineno, begin, end, source[begin:end], after)


def code(node: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """Yield the nodes that run, without annotations and error messages."""
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
    """Return whether a node serves only type checkers: a TYPE_CHECKING block or a type alias."""
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    return isinstance(node, ast.Assign) and ast.unparse(node.value).startswith(("TypeVar(", "Literal[", "Callable["))


def faults(node: ast.expr | ast.stmt) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """Yield the faults at a node: (the part to replace, its replacement)."""
    match node:
        case ast.Compare(ops=[first, *rest]):
            yield node, text(ast.Compare(node.left, [OPPOSITES[type(first)](), *rest], node.comparators))
        case ast.BinOp(op=op) if type(op) in ARITHMETIC and not joins_text(node):
            yield node, text(ast.BinOp(node.left, ARITHMETIC[type(op)](), node.right))
        case ast.BoolOp(op=op):
            yield node, text(ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), node.values))
        case ast.UnaryOp(op=ast.Not()):
            yield node, text(node.operand)
        case ast.IfExp():
            yield node, text(ast.IfExp(node.test, node.orelse, node.body))
        case ast.Call():
            yield from in_call(node)
        case ast.Await():
            yield node, text(node.value)
        case ast.If(body=[ast.Return() | ast.Raise() | ast.Continue() | ast.Break()], orelse=[]):
            yield node.test, "False"
        case ast.With(items=items) | ast.AsyncWith(items=items):
            yield from ((item.context_expr, NO_CONTEXT) for item in items if item.optional_vars is None)
        case ast.AugAssign() | ast.Expr(value=ast.Call() | ast.Await()) | ast.Continue() | ast.Break():
            yield node, "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield node, "pass"


def in_call(call: ast.Call) -> Iterator[tuple[ast.expr, str]]:
    """Yield the faults of a call: the first two arguments swapped, or another axis."""
    match call.args:
        case [first, second, *rest] if not any(isinstance(one, ast.Starred) for one in (first, second)):
            if ast.unparse(first) != ast.unparse(second):
                yield call, text(ast.Call(call.func, [second, first, *rest], call.keywords))
    named = [keyword.value for keyword in call.keywords if keyword.arg in ("dim", "axis")]
    function = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    for axis in [*named, *(call.args if function in AXES else [])]:
        match axis:
            case ast.Constant(value=int(value)) if not isinstance(value, bool):
                yield axis, "0" if value else "1"
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int())):
                yield axis, "0"


def joins_text(node: ast.BinOp) -> bool:
    """Return whether an operator joins text or types rather than numbers."""
    return any(
        isinstance(side, ast.JoinedStr) or (isinstance(side, ast.Constant) and not isinstance(side.value, int | float))
        for side in (node.left, node.right)
    )


def text(node: ast.expr) -> str:
    """Return an expression's source in brackets, so that it can stand anywhere."""
    return f"({ast.unparse(node)})"


def sample(root: Path, package: str, count: int, seed: int) -> list[Mutant]:
    """Draw `count` mutants of a package at random without replacement, sorted by file and line."""
    every: list[Mutant] = []
    for path in sorted((root / package).rglob("*.py")):
        every += mutants(path.relative_to(root).as_posix(), path.read_text())
    chosen = random.Random(f"{package} {seed}").sample(every, min(count, len(every)))
    return sorted(chosen, key=lambda mutant: (mutant.path, mutant.line))
