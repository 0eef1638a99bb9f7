"""The project's folder, Python code in a process of its own, and calls in the service's processes for files."""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from spikesight.service.decoding.processes import DecoderProcesses
from tests.support.waiting import PATIENCE_S

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]


def script(path: str) -> ModuleType:
    """A file of the project that belongs to no package, as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def in_fresh_process(code: str, **environment: str) -> str:
    """What Python code prints, run from the project's folder with more environment variables."""
    command, env = [sys.executable, "-c", code], {**os.environ, **environment}
    patience_s = 600  # a cold compiler on a busy machine
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=patience_s)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@dataclass
class Caller:
    """Calls functions in processes of their own, which may take so long."""

    processes: DecoderProcesses

    async def __call__(self, function: Callable[..., T], *arguments: Any, seconds: float = PATIENCE_S) -> T:
        return await self.processes.run(function, *arguments, deadline=time.monotonic() + seconds)


@contextmanager
def calling() -> Iterator[Caller]:
    """What calls functions of `serving.calls` in processes that are stopped afterwards; for an event loop."""
    processes = DecoderProcesses()
    processes.start()
    try:
        yield Caller(processes)
    finally:
        processes.stop()
