"""Compiled loops where nothing can be written to, as in a container that may only read."""

import numpy as np
import pytest
from numba.core.caching import CacheImpl

from encoders.kernels.loop import loop


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
