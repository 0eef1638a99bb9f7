"""What a step frees stays with the process, so that the next one does not pay for its pages."""

import gc
import platform
import resource

import numpy as np
import pytest

from spikesight.models.native.memory import give_back, keep_libraries, keep_membranes
from tests.support.processes import in_fresh_process
from tests.support.serving.servers import resident


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library: its allocator is left as it is")
def test_freed_blocks_are_taken_again_without_page_faults() -> None:
    assert keep_membranes()
    kept = [np.ones(2**18, np.float32)]  # 1 MiB, as the membranes of a batch

    def faults() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    def steps(n: int) -> None:
        for _ in range(n):
            kept.append(np.ones(2**18, np.float32))
            del kept[0]

    steps(10)
    before = faults()
    steps(100)
    assert faults() - before < 100 * 64  # a quarter of the blocks' pages would be 6,400


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


def test_the_collector_leaves_the_libraries_alone() -> None:
    class Tied:
        pass

    try:
        keep_libraries()
        assert not [one for one in gc.get_objects() if one is pytest]
        tied = Tied()
        tied.itself = tied  # type: ignore[attr-defined]
        del tied
        assert gc.collect() >= 1  # what comes later is looked at
    finally:
        gc.unfreeze()


def test_keeping_memory_respects_the_user() -> None:
    code = "from spikesight.models.native.memory import keep_memory; print(keep_memory())"
    assert in_fresh_process(code, MALLOC_ARENA_MAX="2") == "False"
    assert in_fresh_process(code) in ("True", "False")
