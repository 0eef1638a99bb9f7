"""The service's benchmarks leave no server behind, and keep what each setting measured."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.common import report
from benchmarks.serving.camera import Seen, tell

INTERRUPTED = """
import sys
from benchmarks.serving.clients import Served, free_port
port = free_port()
listens = f"import socket; server = socket.create_server(('127.0.0.1', {port})); server.accept(); server.accept()"
print(Served([sys.executable, "-c", listens], port).process.pid, flush=True)
raise KeyboardInterrupt
"""


def test_an_interrupted_benchmark_ends_its_server() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], cwd=report.ROOT, capture_output=True, text=True)
    assert "KeyboardInterrupt" in done.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


def test_bins_of_two_lengths_are_two_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(report.ROOT / "benchmarks" / "serving" / "camera.py")])
    for bin_ms in (1.0, 2.0):
        tell([Seen(3.0, 1.0, 1.0)] * 2, np.ones(2), bin_ms, 1e6, 1.0)
        report.write("camera", tmp_path / "camera.json")
    assert len(json.loads((tmp_path / "camera.json").read_text())["tables"]) == 2
