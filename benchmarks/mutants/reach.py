"""Find the tests responsible for a line: those of its module, by the mirrored folders, and those that import it."""

import ast
import re
from functools import cache
from pathlib import Path

SUITES = (
    *(f"tests/{folder}/" for folder in ("encoders", "models", "service", "training", "app", "end_to_end/attacks")),
    "tests/contracts/test_openapi",
    "tests/contracts/test_docs",
)
PAGES = "tests/contracts/test_docs.py"  # checks generated pages: their sources (flags, tables) have no other test


def tests_for(root: Path, path: str, line: int) -> list[str]:
    """Return the test files for a line of a source file, the nearest first; all relative to `root`.

    The order is: the module's own test (`tests/a/test_b.py` of `a/b.py`), tests that import the module, tests of its
    folder, tests of generated pages, then tests that import a module that imports it, rarely imported modules first.
    Within a group, tests of its folder come first, then those that name the line's function or class, small ones first.
    """
    users, names = importers(root, path), names_at((root / path).read_text(), line)
    further = sorted((importers(root, user) for user in users), key=len)
    kinds = [{own_tests(path)}, users, sibling_tests(root, path), {PAGES}, *further]
    found, home = dict[str, None](), root / Path(own_tests(path)).parent
    for kind in kinds:
        there = [
            root / file for file in kind if file.startswith(SUITES) and "/test_" in file and (root / file).exists()
        ]
        nearest = sorted(there, key=lambda file: (file.parent != home, not mentions(file, names), file.stat().st_size))
        found |= dict.fromkeys(file.relative_to(root).as_posix() for file in nearest)
    return list(found)


def names_at(source: str, line: int) -> frozenset[str]:
    """Return the names of the functions and classes that contain a line."""
    return frozenset(
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and node.lineno <= line <= (node.end_lineno or 0)
    )


def mentions(file: Path, names: frozenset[str]) -> bool:
    """Return whether a file contains one of these names."""
    return not names.isdisjoint(words(file))


@cache
def words(file: Path) -> frozenset[str]:
    """Return all words in a file."""
    return frozenset(re.findall(r"\w+", file.read_text()))


def own_tests(path: str) -> str:
    """Return the path of a module's own tests."""
    file = Path(path)
    return (Path("tests") / file.parent / f"test_{file.stem}.py").as_posix()


def sibling_tests(root: Path, path: str) -> set[str]:
    """Return the tests of the module's folder."""
    folder = root / "tests" / Path(path).parent
    return {file.relative_to(root).as_posix() for file in folder.glob("test_*.py")}


def importers(root: Path, path: str) -> set[str]:
    """Return the files that import a module, in our packages or in the tests."""
    name = Path(path).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
    either = {name, f"spikesight.{name}"}  # a module of the tests, or of the one package
    return {file for file, names in imports(root).items() if names & either and file != path}


@cache
def imports(root: Path) -> dict[str, set[str]]:
    """Return for every file the modules that it imports, and imported names, which may be modules as well."""
    return {file.relative_to(root).as_posix(): imported(file) for file in root.rglob("*.py")}


def imported(file: Path) -> set[str]:
    """Return the modules that a file imports or names in strings, since some are imported by name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Import():
                names |= {alias.name for alias in node.names}
            case ast.ImportFrom(module=str(module)):
                names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
            case ast.Constant(value=str(text)) if "." in text and text.replace(".", "").isidentifier():
                names.add(text)
            case ast.Call(func=ast.Attribute(attr="compiled"), args=[ast.Constant(value=str(text))]):
                names.add(f"spikesight.encoders.kernels.{text}")
    return names
