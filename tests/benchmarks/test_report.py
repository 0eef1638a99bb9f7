"""What a benchmark measured is kept as JSON that names the processor, the command and no path of the machine."""

import json
import re
import shutil
import subprocess
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


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_bench_runs_what_needs_no_word_and_goes_on_after_a_failure(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "ran $2"\ntest "$2" != benchmarks.events\n')
    python.chmod(0o755)
    words = ["make", "--old-file=.venv/.dev", "bench", f"BIN={tmp_path}"]
    done = subprocess.run(words, cwd=report.ROOT, capture_output=True, text=True)
    ran = [line.removeprefix("ran benchmarks.") for line in done.stdout.splitlines() if line.startswith("ran ")]
    assert {"events", "engine", "serving.load"} <= {*ran}
    assert (done.returncode != 0, "failed: events" in done.stdout) == (True, True)
    for name in ran:
        source = (report.ROOT / "benchmarks" / f"{name.replace('.', '/')}.py").read_text()
        assert "required=True" not in source, name
        assert not re.search(r'add_argument\("[a-z]+", type', source), name


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
