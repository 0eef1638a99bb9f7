"""Make notebooks of pages, one code cell for each Python block: docs/python.ipynb of docs/python.md, docs/notebooks/ of
docs/make/notebooks/.

`python docs/make/notebook.py [WORD]` runs those whose name holds WORD, and stores what they print and draw; a cell
whose code changes loses it.
"""

import ast
import base64
import contextlib
import io
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

DOCS = Path(__file__).resolve().parents[1]
SOURCES = {
    "python.ipynb": DOCS / "python.md",
    **{f"notebooks/{path.stem}.ipynb": path for path in sorted((DOCS / "make" / "notebooks").glob("*.md"))},
}
DPI, COLOURS = 64, 48  # of figures: small files, readable
Cell = dict[str, Any]


def cell(kind: str, number: int, text: str, stored: dict[str, Cell]) -> Cell:
    """Make one notebook cell in format 4.5, with the outputs of a stored one of the same source."""
    made: Cell = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}}
    source = text.strip("\n")
    if kind == "code":
        was = stored.get(source, {})
        made |= {"execution_count": was.get("execution_count"), "outputs": was.get("outputs", [])}
    return {**made, "source": source.splitlines(keepends=True)}


def page(name: str) -> str:
    """Return one of SOURCES as a notebook, with what its file stores of the cells that are still the same."""
    path, text = DOCS / name, SOURCES[name].read_text().replace(" This page is also a [notebook](python.ipynb).", "")
    before = json.loads(path.read_text())["cells"] if path.is_file() else []
    stored = {"".join(one["source"]): one for one in before if one["cell_type"] == "code"}
    parts = re.split(r"^```python\n(.*?)^```\n", text, flags=re.MULTILINE | re.DOTALL)
    cells = [cell("code" if n % 2 else "markdown", n, part, stored) for n, part in enumerate(parts) if part.strip()]
    return written(cells)


def written(cells: list[Cell]) -> str:
    """A notebook of these cells."""
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def outputs(source: str, names: dict[str, Any]) -> list[Cell]:
    """Run a cell; return what it prints, and the figures that it draws."""
    from matplotlib import pyplot

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(ast.parse(source), "cell", "exec", dont_inherit=True), names)
    text = printed.getvalue()
    found: list[Cell] = []
    if text:
        found.append({"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)})
    for number in pyplot.get_fignums():
        drawn, png = io.BytesIO(), io.BytesIO()
        pyplot.figure(number).savefig(drawn, format="png", dpi=DPI, bbox_inches="tight")
        Image.open(drawn).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(png, "png", optimize=True)
        data = {"image/png": base64.b64encode(png.getvalue()).decode(), "text/plain": ["<Figure>"]}
        found.append({"data": data, "metadata": {}, "output_type": "display_data"})
    pyplot.close("all")
    return found


def run(name: str) -> None:
    """Run a notebook in an empty folder, and store it with its outputs."""
    cells, names, count = json.loads(page(name))["cells"], dict[str, Any](), 0
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for one in cells:
            source = "".join(one["source"])
            if one["cell_type"] == "code" and not source.startswith("# needs"):
                count += 1
                one |= {"execution_count": count, "outputs": outputs(source, names)}
    (DOCS / name).write_text(written(cells))
    print(f"{name}: {count} cells, {(DOCS / name).stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    os.environ["MPLBACKEND"] = "Agg"
    for notebook in SOURCES:
        if all(word in notebook for word in sys.argv[1:]):
            run(notebook)
