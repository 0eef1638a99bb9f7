"""Make notebooks of pages, one code cell for each Python block: docs/python.ipynb of docs/python.md, docs/notebooks/ of
docs/make/notebooks/.
"""

import json
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1]
SOURCES = {
    "python.ipynb": DOCS / "python.md",
    **{f"notebooks/{path.stem}.ipynb": path for path in sorted((DOCS / "make" / "notebooks").glob("*.md"))},
}


def cell(kind: str, number: int, text: str) -> dict[str, Any]:
    """Make one notebook cell in format 4.5."""
    made: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}}
    if kind == "code":
        made |= {"execution_count": None, "outputs": []}
    return {**made, "source": text.strip("\n").splitlines(keepends=True)}


def page(name: str) -> str:
    """Return one of SOURCES as a notebook without outputs."""
    text = SOURCES[name].read_text().replace(" The same page as a [notebook](python.ipynb).", "")
    parts = re.split(r"^```python\n(.*?)^```\n", text, flags=re.MULTILINE | re.DOTALL)
    cells = [cell("code" if n % 2 else "markdown", n, part) for n, part in enumerate(parts) if part.strip()]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"
