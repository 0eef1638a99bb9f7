"""Write the generated pages:

docs/commands.md                                      code: commands and flags, recipes, conversion methods, benchmarks
docs/models/shipped.md                                the shipped models' folders
docs/results/results.md, corruptions.md, model cards  training/results/
docs/results/board.html, results.csv                  training/results/board.json
docs/results/performance.md, sparsity.md              benchmarks/results/
docs/paper.md                                         docs/make/paper.md, with figures from the pages above
docs/python.ipynb, docs/notebooks/                    docs/python.md, docs/make/notebooks/
docs/service/security.md (its table)                  the tests

With --check, only check whether they are up to date. Help texts are formatted here, since argparse's layout differs
between versions of Python.
"""

import argparse
import ast
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # this folder is no package
import board_page
import corruptions_page
import mutants_table
import notebook
import paper_page
import performance_page
import results_page
import security_page
import sparsity_page

ROOT = Path(__file__).resolve().parents[2]
COLUMNS, INDENT = 110, 34
RULE = "|---|---|"  # second line of a table of two columns
HEAD = """# Commands, recipes, conversion methods, benchmarks

Written by `docs/make/make_docs.py` from the code; a test fails when this page is out of date. `spikesight COMMAND
--help` says the same. Exit codes: 0 success, 1 failure, 2 wrong usage or input, 130 stopped by Ctrl-C.
"""


def parser_of(name: str) -> argparse.ArgumentParser:
    """Build the argument parser of one command, as `spikesight` does."""
    from spikesight.app.cli import module_of

    module = module_of(name)
    parser = argparse.ArgumentParser(prog=f"spikesight {name}", description=module.DESCRIPTION)
    getattr(module, "configure_all", module.configure)(parser)
    return parser


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    """Return all flags of a command."""
    return {flag for action in parser._actions for flag in action.option_strings}  # no public way


def _value(action: argparse.Action) -> str:
    """Return how an action's value is written: its metavar, or nothing for a flag without a value."""
    if action.nargs == 0:
        return ""
    metavar = action.metavar if isinstance(action.metavar, str) else None
    if metavar is None:
        metavar = action.dest if not action.option_strings else action.dest.upper()
    return f"{metavar} ..." if action.nargs in ("+", "*") else metavar


def _entry(action: argparse.Action, prog: str) -> str:
    """Format one flag: its name, its value and its help, in one or more lines."""
    left = ", ".join(action.option_strings)
    left = f"  {left} {_value(action)}".rstrip() if left else f"  {_value(action)}"
    text = (action.help or "") % {**vars(action), "prog": prog}
    if action.choices:
        text = f"{text}; one of {', '.join(str(choice) for choice in action.choices if choice != '')}"
    text = " ".join(text.split())
    lines = textwrap.wrap(text, COLUMNS - INDENT, break_on_hyphens=False, break_long_words=False)
    if len(left) < INDENT - 1 and lines:
        return "\n".join([left.ljust(INDENT) + lines[0], *(" " * INDENT + line for line in lines[1:])])
    return "\n".join([left, *(" " * INDENT + line for line in lines)])


def shown_actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the flags that a command's help lists, without --help and suppressed ones."""
    return [a for a in parser._actions if not isinstance(a, argparse._HelpAction) and a.help != argparse.SUPPRESS]


def usage(parser: argparse.ArgumentParser) -> str:
    """Return the usage line: the command with its positional arguments and required flags."""
    words = [parser.prog]
    for action in parser._actions:
        if action.option_strings and action.required:
            words.append(f"{action.option_strings[0]} {_value(action)}")
    words.append("[options]")
    words += [_value(a) for a in shown_actions(parser) if not a.option_strings]
    return " ".join(words)


def section(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield a command's section of the page."""
    yield f"## {parser.prog}\n"
    yield f"```text\n{(parser.description or '').strip()}\n```\n"
    entries = [usage(parser), *(_entry(action, parser.prog) for action in shown_actions(parser))]
    yield "```text\n" + "\n".join(entries) + "\n```\n"


def recipes() -> Iterator[tuple[str, str]]:
    """Yield (file, first sentence of its comment) of every recipe."""
    for path in sorted((ROOT / "training" / "recipes").rglob("*.yaml")):
        comment = []
        for line in path.read_text().splitlines():
            if not line.startswith("# ") or line.startswith("#   "):  # an indented line is a command
                break
            comment.append(line[2:].strip())
        yield path.relative_to(ROOT).as_posix(), _sentence(" ".join(comment))


def benchmarks() -> Iterator[tuple[str, str]]:
    """Yield (file, first sentence of its docstring) of every benchmark that can be run."""
    for path in sorted((ROOT / "benchmarks").rglob("*.py")):
        source = path.read_text()
        if "__name__ ==" in source:  # the others are parts of these
            yield path.relative_to(ROOT).as_posix(), _sentence(ast.get_docstring(ast.parse(source)) or "")


def _sentence(text: str) -> str:
    words = " ".join(text.split("\n\n")[0].split())
    return words.split(". ")[0].rstrip(".:")


def page() -> str:
    """Return docs/commands.md."""
    from spikesight.app.cli import COMMANDS
    from spikesight.models.conversion.methods import METHODS

    parts = [HEAD, "| command | what it does |", RULE]
    parts += [f"| [`spikesight {name}`](#spikesight-{name}) | {summary} |" for name, (_, summary) in COMMANDS.items()]
    parts.append("\n`train-dvs` is `spikesight train`.\n")
    for name in COMMANDS:
        parts += section(parser_of(name))
    parts += ["## Recipes\n", "Settings for `train-dvs --config`; flags override them.\n"]
    parts += ["| file | what it trains |", RULE]
    parts += [f"| [`{name}`](../{name}) | {text} |" for name, text in recipes()]
    parts += ["\n## Conversion methods\n", "For `spikesight convert --method` and `spikesight compare --methods`.\n"]
    parts += ["| name | what it is |", RULE]
    parts += [f"| `{name}` | {method.source} |" for name, method in METHODS.items()]
    parts += ["\n## Benchmarks\n", "How to read them: [measuring](results/measuring.md).\n"]
    parts += ["| file | what it measures |", RULE]
    parts += [f"| [`{name}`](../{name}) | {text} |" for name, text in benchmarks()]
    return "\n".join(parts) + "\n"


SHIPPED_HEAD = """# Shipped models

Written by `docs/make/make_docs.py` from the models' folders; a test fails when this page is out of date. `spikesight
models --json` says the same of what is installed. A model is `model.safetensors`, `config.json` and its card; loading
refuses weights whose SHA-256 is not the one in `config.json`, and never runs anything out of a file.
"""


def shipped_page() -> str:
    """Return docs/models/shipped.md."""
    from spikesight.models.shipped import index, shipped

    parts = [
        SHIPPED_HEAD,
        '| model | input | steps | test accuracy | says "unknown" | bytes | licence |',
        "|---" * 7 + "|",
    ]
    rows = [index.describe(folder) for folder in shipped().values()]
    for row in rows:
        card = f"[`{row['name']}`](../../models/shipped/{row['name']}/README.md)"
        measured = f"{row['accuracy']:.2%} of {row['tested']:,}"
        unknown = "yes" if row["known"] else "no"
        values = (card, row["input"], row["steps"], measured, unknown, f"{row['bytes']:,}", row["licence"])
        parts.append(f"| {' | '.join(values)} |")
    parts += ["\n| model | SHA-256 of its weights |", RULE]
    parts += [f"| `{row['name']}` | `{row['sha256']}` |" for row in rows]
    return "\n".join(parts) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "commands.md": page,
    "models/shipped.md": shipped_page,
    "results/results.md": results_page.page,
    "results/corruptions.md": corruptions_page.page,
    **{f"../models/shipped/{name}/README.md": partial(corruptions_page.card, name) for name in corruptions_page.MODELS},
    "results/measuring.md": mutants_table.page,
    "results/performance.md": performance_page.page,
    "results/sparsity.md": sparsity_page.page,
    "results/board.html": board_page.page,
    "results/results.csv": board_page.table,
    "paper.md": paper_page.page,
    **{name: partial(notebook.page, name) for name in notebook.SOURCES},
    "service/security.md": security_page.page,
}


def main() -> int:
    """Write the pages, or check them; return the exit status: 1 if --check finds one out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say whether the pages are up to date")
    args = parser.parse_args()
    stale = 0
    for name, made in PAGES.items():
        path, text = ROOT / "docs" / name, made()
        if path.is_file() and path.read_text() == text:
            print(f"docs/{name} is up to date")
        elif args.check:
            print(f"docs/{name} is out of date: run python docs/make/make_docs.py", file=sys.stderr)
            stale = 1
        else:
            path.write_text(text)
            print(f"wrote docs/{name}")
    return stale


if __name__ == "__main__":
    sys.exit(main())
