"""The project's folder, and Python code in a process of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def endless(*_: object) -> None:
    """Never returns; here, and not in a test, so that a process with little memory can import it."""
    while True:
        signal.pause()


def in_fresh_process(code: str, **environment: str) -> str:
    """What Python code prints, run from the project's folder with more environment variables."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,  # a cold compiler on a busy machine
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
