"""Generate the table of attacks in docs/service/security.md from the tests that perform them.

A test that is an attack has the mark `@pytest.mark.attack(group, what, answer)`, once for each row.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAD = "| attack | answer | test |\n|---|---|---|\n"
GROUPS = (
    "connections", "body", "images", "recordings", "v2 JSON", "names and methods", "host, token, origins", "WebSocket",
    "teaching", "sinks", "load", "model files", "answers",
)  # fmt: skip

Row = tuple[str, str, str, str]
"""Group, attack, answer, and the name of the test."""


def page() -> str:
    """Return the present page with its table generated anew."""
    text = (ROOT / "docs" / "service" / "security.md").read_text()
    return text.partition(HEAD)[0] + HEAD + "\n".join(table(list(rows()))) + "\n"


def table(found: list[Row]) -> Iterator[str]:
    """Yield the rows of the table by group. Raises ValueError if a test names an unknown group."""
    if foreign := {row[0] for row in found} - set(GROUPS):
        raise ValueError(f"no group of attacks: {', '.join(sorted(foreign))}; one of {', '.join(GROUPS)}")
    for group in GROUPS:
        yield f"| **{group}** | | |"
        yield from (f"| {what} | {answer} | `{test}` |" for own, what, answer, test in found if own == group)


def rows() -> Iterator[Row]:
    """Yield the rows that the tests' marks give, in the order of the files."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for mark in node.decorator_list:
                    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.attack":
                        group, what, answer = map(ast.literal_eval, mark.args)
                        yield group, what, answer, node.name
