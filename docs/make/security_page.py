"""The table of docs/service/security.md: what the service was attacked with, as the tests that do it say themselves.

A test that is an attack carries `@pytest.mark.attack(group, what, answer)`, once for each row.
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
"""Group, attack, answer, and the test's name."""


def page() -> str:
    """The page as it stands, with its table made anew."""
    text = (ROOT / "docs" / "service" / "security.md").read_text()
    return text.partition(HEAD)[0] + HEAD + "\n".join(table(list(rows()))) + "\n"


def table(found: list[Row]) -> Iterator[str]:
    """Lines of the table. Raises ValueError where a test names a group that is none."""
    if foreign := {row[0] for row in found} - set(GROUPS):
        raise ValueError(f"no group of attacks: {', '.join(sorted(foreign))}; one of {', '.join(GROUPS)}")
    for group in GROUPS:
        yield f"| **{group}** | | |"
        yield from (f"| {what} | {answer} | `{test}` |" for own, what, answer, test in found if own == group)


def rows() -> Iterator[Row]:
    """What the tests say, in the order of their files."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for mark in node.decorator_list:
                    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.attack":
                        group, what, answer = map(ast.literal_eval, mark.args)
                        yield group, what, answer, node.name
