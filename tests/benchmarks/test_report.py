"""What a benchmark measured is kept as JSON that names the processor, the command and no path of the machine."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks.common import report


def test_a_repeated_table_replaces_its_own_and_keeps_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [str(report.ROOT / "benchmarks" / "engine.py")])
    file = tmp_path / "some" / "engine.json"
    for title, value in (("one", 1.23456), ("two", 2.0), ("one", 3.0)):
        report.table(title, "variant", "ms")
        report.row("engine", value)
        assert report.write("engine", file) == file
        kept = json.loads(file.read_text())
        assert kept["tables"][-1]["rows"] == [["engine", float(f"{value:.4g}")]]
    assert [table["title"] for table in kept["tables"]] == ["two", "one"]
    assert kept["benchmark"] == "engine"
    assert kept["processor"]
    assert {"date", "command", "threads", "load", "versions"} <= kept["tables"][0].keys()


def test_every_result_in_the_repository_is_readable_and_names_no_machine() -> None:
    files = sorted(report.RESULTS.glob("*.json"))
    assert files
    for file in files:
        text = file.read_text()
        kept = json.loads(text)
        assert file.stem == f"{kept['benchmark']}-{report.slug(kept['processor'])}"
        assert not [word for word in ("/work/", "/root/", "/home/", "/tmp/") if word in text]
        for table in kept["tables"]:
            assert all(len(row) == len(table["columns"]) for row in table["rows"]), table["title"]
