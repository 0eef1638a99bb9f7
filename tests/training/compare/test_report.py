"""Reports of a comparison: blocks in both forms, a chapter for what was measured."""

from dataclasses import replace
from pathlib import Path

import pytest

from spikesight.training.compare import report
from spikesight.training.compare.report import Block, to_html, to_markdown
from spikesight.training.compare.results import Results
from tests.training.compare.test_tables import RESULTS

PARTS = [
    Block("h2", "a & b"), Block("p", "<c>"), Block("list", ["d", "e"]), Block("h2", "f"),
    Block("picture", ("g.png", 'h "i"')), Block("table", [["j", "k"], ["1", "<"]]),
]  # fmt: skip


def test_every_kind_of_block_in_both_forms(tmp_path: Path) -> None:
    assert to_markdown(PARTS, "there") == "\n".join([
        "# a & b", "", "<c>", "", "- d", "- e", "", "## f", "", '![h "i"](there/g.png)', "", "| j | k |", "|---|---|",
        "| 1 | < |", "",
    ])  # fmt: skip
    (tmp_path / "g.png").write_bytes(b"png")
    head, *lines = to_html(PARTS, tmp_path).split("\n")
    assert head.startswith("<!doctype html>")
    assert lines == [
        "<h2>a &amp; b</h2>", "<p>&lt;c&gt;</p>", "<ul><li>d</li><li>e</li></ul>", "<h2>f</h2>",
        '<img alt="h &quot;i&quot;" src="data:image/png;base64,cG5n">', "<table><tr><th>j</th><th>k</th></tr>",
        "<tr><td>1</td><td>&lt;</td></tr>", "</table></html>", "",
    ]  # fmt: skip


def test_what_was_not_measured_has_no_chapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(report, "curves_picture", lambda _, path, __, ___: drawn.append(path.name))

    def chapters(results: Results) -> list[str]:
        return [part.content for part in report.blocks(results, tmp_path) if part.kind == "h2"]

    full = chapters(RESULTS)
    assert len(drawn) == len(set(drawn)) == 3
    for name in ("trials", "direct", "stdp", "long", "multi"):
        kept = chapters(replace(RESULTS, **{name: []}))
        assert len(kept) == len(full) - 1
        assert set(kept) < set(full)
