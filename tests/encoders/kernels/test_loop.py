"""Compiled loops where nothing can be written to, as in a container that may only read."""

import os
import subprocess
import sys
from pathlib import Path

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
