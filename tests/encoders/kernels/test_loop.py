"""Compiled loops where nothing can be written to, as in a container that may only read."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba.core.caching import CacheImpl

from spikesight.encoders.kernels.loop import loop


def total(values, scale):
    """The sum of a vector, scaled."""
    result = 0.0
    for value in values:
        result += scale * value
    return result


@pytest.mark.parametrize("kept", [True, False])
def test_loops_are_compiled_whether_or_not_they_can_be_kept(kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not kept:
        monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    compiled = loop(boundscheck=True)(total)
    assert compiled(np.arange(4.0), 2.0) == 12
    assert compiled.stats.cache_path is not None if kept else compiled.stats.cache_path is None
    assert compiled.targetoptions["nogil"]
    assert compiled.targetoptions["boundscheck"]


READ_ONLY = """
import numba.core.caching as caching
from numba.core.caching import CacheImpl
user = caching.UserProvidedCacheLocator
CacheImpl._locator_classes = [user]  # no other folder can be written to
from spikesight.encoders.kernels.loop import loop
import numpy as np
@loop
def total(values):
    return values.sum()
total(np.arange(4.0))
print(sum(total.stats.cache_hits.values()), total.stats.cache_path)
"""


def test_where_nothing_else_can_be_written_to_all_processes_share_what_one_has_compiled(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(READ_ONLY)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    environment.pop("NUMBA_CACHE_DIR", None)
    said = [
        subprocess.run(
            [sys.executable, tmp_path / "program.py"], env=environment, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    ]
    assert [line.split()[0] for line in said] == ["0", "1"]
    assert all(Path(line.split()[1]).is_relative_to(tmp_path) for line in said)
