"""The documents: links, commands, flags and tables are true, code runs; figures and pictures are those of today."""

import argparse
import ast
import copy
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import spikesight
from spikesight.app.cli import COMMANDS, module_of
from spikesight.app.webcam.demo import default_model
from spikesight.encoders.image import IMAGE_ENCODERS
from spikesight.encoders.sources.samples import listing
from spikesight.models.checkpoint import read_config
from spikesight.models.conversion.methods import METHODS
from spikesight.models.neurons.surrogate import SURROGATES
from spikesight.models.shipped import shipped
from spikesight.models.statistics import accuracy_of
from spikesight.training.data.load import DATA_NAMES
from spikesight.training.flags import recipe_path
from spikesight.training.step.losses import LOSSES
from tests.support.processes import ROOT, script

DOCS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *ROOT.glob("models/shipped/*/README.md")]
PAGES = pytest.mark.parametrize("page", DOCS, ids=[p.relative_to(ROOT).as_posix() for p in DOCS])
MAKE = script("docs/make/make_docs.py")
SHELL = ("sh", "bash", "shell", "console")
NEEDS = re.compile(r"#\s*needs\b", re.IGNORECASE)  # the first line of a Python block that is not run here
REGISTRIES = (
    ("spikesight.encoders.image", "IMAGE_ENCODERS"),
    ("spikesight.models.checkpoint", "NETWORK_KINDS"),
    ("spikesight.models.networks.resnet", "NETWORKS"),
    ("spikesight.encoders.sources.source", "DRIVERS"),
    ("spikesight.training.data.recordings", "RECORDED"),
)
COMMAND = re.compile(r"(?<![\w/.-])(?:\.venv/bin/)?(?:spikesight ([a-z][a-z-]*)|(train-dvs))(?= |$)([^|;&#`]*)")
NAMED: dict[str, tuple[str, ...]] = {
    "encode.md": tuple(IMAGE_ENCODERS),
    "convert.md": tuple(METHODS),
    "python.md": tuple(dir(spikesight)),
    "train.md": (*SURROGATES, *LOSSES, *DATA_NAMES),
}
"""Registries whose every entry a page must name."""


@cache
def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser of one command, as `spikesight` builds it."""
    module = module_of(name)
    parser = argparse.ArgumentParser(prog=f"spikesight {name}", description=module.DESCRIPTION)
    module.configure(parser)
    return parser


@cache
def flags_of(command: str) -> frozenset[str]:
    return frozenset(flag for action in parser_of(command)._actions for flag in action.option_strings)


@dataclass(frozen=True)
class Block:
    """One code block: its language ("" for an indented one), its text and its first line's number."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    """Fenced blocks, and paragraphs indented by four spaces."""
    language, begin, lines, fenced = "", 0, [], False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            if fenced:
                yield Block(language, "\n".join(lines), begin)
            fenced, language, begin, lines = not fenced, line.strip().strip("`").split(" ")[0], number + 1, []
        elif fenced:
            lines.append(line)
        elif line.startswith("    ") and line.strip():
            yield Block("", line.strip(), number)


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchor(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@PAGES
def test_links_resolve_and_no_machine_is_named(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target) or page.is_relative_to(ROOT / "docs" / "make"):
            continue
        path, _, fragment = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name} links to {target}, which does not exist"
        assert linked.is_relative_to(ROOT), f"{page.name} links out of the project: {target}"
        if fragment and linked.suffix == ".md":
            headings = {anchor(line.lstrip("#")) for line in prose(linked).splitlines() if line.startswith("#")}
            assert fragment in headings, f"{page.name} links to {target}: no such heading"
    assert not re.search(r"/(work|root|home|tmp)/", page.read_text())


def spans(page: Path) -> Iterator[str]:
    """Everything in the page that is code, a line at a time, with continued lines joined."""
    for block in blocks(page):
        if block.language in ("", "text", *SHELL):
            yield from block.text.replace("\\\n", " ").splitlines()
    for span in re.findall(r"`([^`]+)`", prose(page)):
        yield " ".join(span.split())


@PAGES
def test_commands_flags_targets_and_scripts_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in spans(page):
        check_commands(page.name, line)
        if line.startswith("--"):
            flag = re.split("[ =]", line)[0]
            assert any(flag in flags_of(command) for command in COMMANDS), f"{page.name}: no command has {flag}"
        name, *words = line.split(" #")[0].removeprefix("$ ").split() or [""]
        if name == "make" and words[:1] != ["-C"]:
            assert all("=" in word or word in targets for word in words), f"{page.name}: no such target: {line}"
        if name.removeprefix(".venv/bin/") in ("python", "python3"):
            scripts = [word for word in words if word.endswith(".py")]
            assert all((ROOT / word).is_file() for word in scripts), f"{page.name}: no such script: {line}"


def check_commands(where: str, line: str) -> None:
    """Fails where a line names a command, a flag or a recipe that does not exist."""
    for match in COMMAND.finditer(line):
        command = match[1] or "train"
        assert command in COMMANDS, f"{where}: no command 'spikesight {command}' in: {line.strip()}"
        for word, following in pairwise([*match[3].split(), ""]):
            flag = word.partition("=")[0].strip("[](),.'\"")
            if flag.startswith("--") and flag != "--":
                assert flag in flags_of(command), f"{where}: {command} has no {flag} in: {line.strip()}"
            if flag == "--config" and re.fullmatch(r"[\w/]+(\.yaml)?", following):
                assert recipe_path(following), f"{where}: no recipe {following}"


def test_the_recipes_name_commands_that_exist() -> None:
    for recipe in sorted((ROOT / "training" / "recipes").rglob("*.yaml")):
        for line in recipe.read_text().splitlines():
            check_commands(recipe.name, line[1:] if line.startswith("#") else "")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_documents_and_every_flag_has_help(command: str) -> None:
    called = "train-dvs" if command == "train" else f"spikesight {command}"
    assert any(re.search(rf"\b{called}\b", line) for page in DOCS for line in spans(page)), f"no page names {called}"
    assert COMMANDS[command][1]
    bare = [action.dest for action in parser_of(command)._actions if action.option_strings and not action.help]
    assert not bare, f"{command} says nothing of {', '.join(bare)}"


@pytest.mark.parametrize("name", MAKE.GENERATED)
def test_what_is_generated_is_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text() == MAKE.GENERATED[name](), "run python docs/make/make_docs.py"


def figures(text: str) -> set[str]:
    return set(re.findall(r"\d+\.\d\d|\d+ of \d+", re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)))


@pytest.mark.parametrize("name", ["README.md", "docs/paper.md"])
def test_accuracies_are_those_of_the_results(name: str) -> None:
    text = (ROOT / name).read_text()
    text = text.partition("## Start")[0] + text.partition("\n## Models")[2] if name == "README.md" else text
    text = re.sub(r"<!-- table.*?<!-- end -->", "", text, flags=re.DOTALL)  # made from the models' cards
    said, _, others = text.partition("### The paper we began with")  # whose table is of reports by `compare`
    said += others.partition("\n## ")[2]
    missing = figures(said) - figures((ROOT / "docs/results/results.md").read_text())
    assert not missing, f"docs/results/results.md does not say {', '.join(sorted(missing))}"


def test_the_tree_of_the_readme_is_on_the_disk() -> None:
    (tree,) = (block.text for block in blocks(ROOT / "README.md") if block.language == "text")
    for line in tree.splitlines():
        top, *rest = re.findall(r"[a-z_]+/", line)
        assert all((ROOT / top / folder).is_dir() for folder in ("", *rest)), line


@pytest.mark.parametrize("name", NAMED)
def test_registries_are_named_in_full(name: str) -> None:
    text = (ROOT / "docs" / name).read_text()
    missing = [entry for entry in NAMED[name] if f"`{entry}`" not in text and f"`{entry}(" not in text]
    assert not missing, f"docs/{name} does not name: {', '.join(missing)}"


@pytest.fixture
def registries() -> Iterator[None]:
    """The registries as they were, after a block has added to them."""
    found = [getattr(import_module(module), name) for module, name in REGISTRIES]
    before = [copy.copy(registry) for registry in found]
    yield
    for registry, kept in zip(found, before):
        registry.clear()
        registry.update(kept)


@PAGES
@pytest.mark.usefixtures("registries")
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "block"}  # the blocks of a page build on each other
    for block in blocks(page):
        if block.language != "python":
            continue
        source = "\n" * (block.line - 1) + block.text  # errors name the page's line
        if not NEEDS.match(block.text.lstrip()):
            exec(compile(source, str(page), "exec", dont_inherit=True), names)
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("spikesight"):
                assert all(hasattr(import_module(node.module or ""), one.name) for one in node.names)


BOARD = json.loads((ROOT / "training" / "results" / "board.json").read_text())
ROWS = {
    "nmnist": "nmnist: nmnist",
    **{name: f"mnist: {name}" for name in ("mnist-direct", "mnist-converted", "mnist-ann")},
}


def figures_of(name: str) -> dict[str, Any]:
    return read_config(shipped()[name])[2].metrics["test"]


@pytest.mark.parametrize("name", list(shipped()))
def test_a_models_page_has_the_figures_of_its_card(name: str) -> None:
    test, page = figures_of(name), (shipped()[name] / "README.md").read_text()
    for column, words in ((test, "accuracy on test data, as shown"), (test["best_guess"], "top-1 accuracy")):
        exact = accuracy_of(column["correct"], column["count"])
        assert column["accuracy"] == exact["accuracy"]
        assert column["interval"] == pytest.approx(exact["interval"])
        low, high = (f"{100 * side:.1f}" for side in column["interval"])
        (row,) = [line for line in page.splitlines() if line.startswith(f"| {words}") and " of " in line]
        assert f"{100 * column['accuracy']:.2f} % of {column['count']}" in row
        assert f"{low} to {high}" in row
    assert test["correct"] <= test["best_guess"]["correct"], "a label that is shown right is top-1"


@pytest.mark.parametrize("name", list(ROWS))
def test_the_boards_row_is_the_cards(name: str) -> None:
    (row,) = [row for row in BOARD["rows"] if row["name"] == ROWS[name]]
    test, figures = figures_of(name), row["figures"]
    assert figures["accuracy"] == pytest.approx(test["best_guess"]["accuracy"]), "which methods that refuse none have"
    assert figures["right"] == pytest.approx(test["accuracy"])


PICTURES = ROOT / "docs" / "pictures"
SHOWN = json.loads((PICTURES / "shown.json").read_text())
LARGEST = 1 << 20  # bytes of the animation that leads the README


def truth(source: str) -> str:
    """What a recording ("digit-3") or a drawing ("drawn-3") is of."""
    labels = {sample.name: sample.label.split()[-1] for sample in listing()}  # "digit 3"; "circle, to the right"
    return labels.get(source) or re.fullmatch("drawn-(.+)", source)[1]  # type: ignore[index]


@pytest.mark.parametrize("name", SHOWN)
def test_its_label_is_the_true_one(name: str) -> None:
    source, says = SHOWN[name]["source"], SHOWN[name]["says"]
    assert says == truth(source)
    assert hashlib.sha256((PICTURES / name).read_bytes()).hexdigest() == SHOWN[name]["sha256"], "take it with take.py"
    if not source.startswith("drawn"):
        *_, last = spikesight.load(default_model(source)).stream(source)
        assert last.label == says, "what the page shows today"


@pytest.mark.parametrize("name", [name for name in MAKE.GENERATED if name.endswith(".ipynb")])
def test_a_notebook_is_stored_with_what_it_prints_and_draws(name: str) -> None:
    text = (ROOT / name).read_text()
    cells = [one for one in json.loads(text)["cells"] if one["cell_type"] == "code"]
    stale = [one for one in cells if not (one["execution_count"] or NEEDS.match("".join(one["source"])))]
    assert not stale, "run python docs/make/notebook.py"
    assert "image/png" in text or "](pictures/" in text
    assert len(text) < LARGEST


def test_every_picture_is_used_and_accounted_for() -> None:
    files = {path.name for path in PICTURES.iterdir() if path.suffix in (".png", ".webp")}
    assert files == {*SHOWN, "encodings.png"}
    pages = "".join(page.read_text() for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")))
    assert not [name for name in files if name not in pages]
    assert (PICTURES / "page.webp").stat().st_size <= LARGEST


def test_the_pictures_of_results_show_the_numbers_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs" / "make")
    draw = import_module("draw")
    for name, numbers in {"accuracy": draw.accuracies(), "speed": draw.times(), "twins": draw.twins()}.items():
        picture = (draw.PICTURES / f"{name}.png").read_bytes()
        assert draw.digest(numbers).encode() in picture, "python docs/make/draw.py"


RESULTS = sorted(
    path for folder in ("benchmarks", "experiments") for path in (ROOT / folder / "results").glob("*.json")
)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_every_result_in_the_repository_is_readable_and_names_no_machine(path: Path) -> None:
    text = path.read_text()
    kept = json.loads(text)
    processor = re.sub(r"[^a-z0-9]+", "-", kept["processor"].lower()).strip("-")
    assert path.stem == f"{kept['benchmark']}-{processor}"
    assert not [word for word in ("/work/", "/root/", "/home/", "/tmp/") if word in text]
    for table in kept["tables"]:
        assert all(len(row) == len(table["columns"]) for row in table["rows"]), table["title"]
