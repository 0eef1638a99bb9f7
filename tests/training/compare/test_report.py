"""The curves of a comparison: in per cent, with the band of their interval."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from matplotlib.axes import Axes

from spikesight.models.statistics import interval
from spikesight.training.compare import report
from spikesight.training.compare.report import Block, curves_picture, to_html, to_markdown
from spikesight.training.compare.results import StdpResult
from tests.training.compare.test_tables import RESULTS, curve


def test_curves_are_per_cent_in_the_band_of_their_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bands: list[tuple[list[int], list[float], list[float]]] = []
    lines: list[tuple[list[int], list[float]]] = []
    levels: list[float] = []
    triangles: list[tuple[int, float]] = []
    plot = Axes.plot

    def drawn(self: Axes, x: Any, y: Any, *more: Any, **named: Any) -> Any:
        if "label" in named:
            lines.append((list(x), list(y)))
        elif more == ("k^",):
            triangles.append((x, y))
        return plot(self, x, y, *more, **named)

    monkeypatch.setattr(Axes, "plot", drawn)
    monkeypatch.setattr(Axes, "fill_between", lambda _, x, low, high, **__: bands.append((list(x), low, high)))
    monkeypatch.setattr(Axes, "axhline", lambda _, level, **__: levels.append(level))
    curves_picture(RESULTS, tmp_path / "deep" / "a.png", [curve("one", [10, 40], 50), curve("two", [99, 100])], "t")
    assert (tmp_path / "deep" / "a.png").read_bytes().startswith(b"\x89PNG")
    assert lines == [([1, 2], [20.0, 80.0]), ([1, 2], [99.0, 100.0])]
    for (x, low, high), (counts, images) in zip(bands, (([10, 40], 50), ([99, 100], 100)), strict=True):
        wanted = [interval(count, images) for count in counts]
        assert x == [1, 2]
        assert low == pytest.approx([100 * bound for bound, _ in wanted])
        assert high == pytest.approx([100 * bound for _, bound in wanted])
    assert levels == [RESULTS.ann.accuracy_here]
    assert triangles == [(direct.steps, direct.at(direct.steps)) for direct in RESULTS.direct]
    assert triangles


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


class Noted:
    """Whatever is drawn, as calls with their settings."""

    def __init__(self, calls: list[tuple[str, dict[str, Any]]]) -> None:
        self.calls = calls

    def __getattr__(self, name: str) -> Any:
        line = SimpleNamespace(get_color=lambda: "red")
        return lambda *_, **how: self.calls.append((name, how)) or [line]


def test_how_curves_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(report.plt, "subplots", lambda **how: calls.append(("subplots", how)) or (Noted(calls),) * 2)
    monkeypatch.setattr(report.plt, "close", lambda _: calls.append(("closed", {})))
    for _ in range(2):  # into a folder that is there, too
        curves_picture(
            replace(RESULTS, direct=RESULTS.direct[:1]), tmp_path / "a" / "b.png", [curve("one", [10], 50)], "t"
        )
    assert calls[: len(calls) // 2] == [
        ("subplots", {"figsize": (7, 4.2), "dpi": 110}), ("plot", {"label": "one", "linewidth": 1.3}),
        ("fill_between", {"color": "red", "alpha": 0.12, "linewidth": 0}),
        ("axhline", {"color": "black", "linestyle": "--", "linewidth": 1, "label": "ANN"}), ("plot", {"markersize": 6}),
        ("set", {"xscale": "log", "xlabel": "time steps T", "ylabel": "test accuracy, %", "title": "t"}),
        ("legend", {"fontsize": 7, "ncols": 2}), ("grid", {"alpha": 0.3}), ("tight_layout", {}),
        ("savefig", {"metadata": {"Software": None}}), ("closed", {}),
    ]  # fmt: skip
