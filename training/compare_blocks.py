"""A report as a list of blocks, written as markdown (pictures beside it) or as one HTML file (pictures inside)."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Block(NamedTuple):
    """A piece of the report: kind "h2", "p", "table" (first row: header), "list" or "picture" (file, caption)."""

    kind: str
    content: Any


def to_markdown(parts: Sequence[Block], pictures: str) -> str:
    """Blocks as markdown; `pictures` is the folder of the pictures seen from the file."""
    lines: list[str] = []
    for kind, content in parts:
        if kind == "h2":
            lines += [f"{'#' if not lines else '##'} {content}", ""]
        elif kind == "p":
            lines += [content, ""]
        elif kind == "list":
            lines += [*(f"- {item}" for item in content), ""]
        elif kind == "picture":
            lines += [f"![{content[1]}]({pictures}/{content[0]})", ""]
        else:
            head, *rows = content
            lines += [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(r)} |" for r in rows), ""]
    return "\n".join(lines)


STYLE = (
    "body{font:15px sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;font-size:13px}"
    "td,th{border:1px solid #ccc;padding:3px 8px;text-align:right}td:first-child,th:first-child{text-align:left}"
    "img{max-width:100%}"
)
HEAD = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Spikesight comparison</title>'


def to_html(parts: Sequence[Block], pictures: Path) -> str:
    """Blocks as one HTML file that needs nothing else."""
    out = [f"{HEAD}<style>{STYLE}</style>"]
    for kind, content in parts:
        if kind in ("h2", "p"):
            out.append(f"<{kind}>{html.escape(content)}</{kind}>")
        elif kind == "list":
            out.append("<ul>" + "".join(f"<li>{html.escape(item)}</li>" for item in content) + "</ul>")
        elif kind == "picture":
            data = base64.b64encode((pictures / content[0]).read_bytes()).decode()
            out.append(f'<img alt="{html.escape(content[1])}" src="data:image/png;base64,{data}">')
        else:
            head, *rows = content
            out.append("<table><tr>" + "".join(f"<th>{html.escape(c)}</th>" for c in head) + "</tr>")
            out += ["<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in rows]
            out.append("</table>")
    return "\n".join(out) + "</html>\n"
