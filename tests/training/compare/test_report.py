"""Reports of a comparison: blocks in both forms, a chapter for all that was measured."""

from dataclasses import replace
from pathlib import Path

import pytest

from spikesight.training.compare import report
from spikesight.training.compare.report import Block, to_html, to_markdown
from spikesight.training.compare.results import StdpResult
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


def test_a_report_has_a_chapter_for_all_that_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(report, "curves_picture", lambda _, path, __, ___: drawn.append(path.name))
    seen = [StdpResult(method="stdp", right=right, images=8, seed=0) for right in (6, 7)]
    full = replace(RESULTS, stdp=seen, long=RESULTS.binary)
    chapters = [
        "Two ways to a spiking network on none", "The choice", "Accuracy (the paper's Table 1)",
        "Long runs (the paper's Figure 2)", "Binary spikes", "Signed multi-threshold spikes: more than one bit each",
        "Latency", "Operations and energy of an image (estimate)", "At equal synaptic operations", "STDP",
        "The paper's claims here",
    ]  # fmt: skip
    parts = report.blocks(full, tmp_path)
    assert [part.content for part in parts if part.kind == "h2"] == chapters
    assert drawn == [f"compare-none-cifar-resnet8-{name}.png" for name in ("long", "binary", "multi")]
    assert any("75.00, 87.50 %" in part.content for part in parts if part.kind == "p")
    bare = replace(RESULTS, trials=[], direct=[], stdp=[], long=[], binary=[])
    left_out = {1, 3, 4, 8, 9}
    kept = [part.content for part in report.blocks(bare, tmp_path) if part.kind == "h2"]
    assert kept == [chapter for n, chapter in enumerate(chapters) if n not in left_out]
