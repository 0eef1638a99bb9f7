"""What a step frees stays with the process, so that the next one does not pay for its pages."""

import platform

import numpy as np
import pytest

from spikesight.models.native.memory import give_back, keep_membranes
from tests.support.processes import in_fresh_process
from tests.support.serving.servers import resident


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library: its allocator is left as it is")
def test_what_is_free_below_what_lives_on_goes_back() -> None:
    assert keep_membranes()
    blocks = [np.ones(2**18, np.float32) for _ in range(40)]
    last = np.ones(2**18, np.float32)
    before = resident()
    blocks.clear()
    held = resident()
    assert give_back()
    assert resident() < min(before, held) - 20 * 2**20
    assert last.all()


def test_keeping_memory_respects_the_user() -> None:
    code = "from spikesight.models.native.memory import keep_memory; print(keep_memory())"
    assert in_fresh_process(code, MALLOC_ARENA_MAX="2") == "False"
    assert in_fresh_process(code) in ("True", "False")
