"""What a step frees stays with the process, so that the next one does not pay for its pages."""

import gc
import os
import platform
import resource

import numpy as np
import pytest

from spikesight.models.native import memory as module
from spikesight.models.native.memory import give_back, keep_libraries, keep_membranes, keep_memory
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


class Told:
    """A C library that writes down what its allocator is told, and agrees (1) to all but `refused`."""

    TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8  # of glibc's malloc.h: its interface

    def __init__(self, *refused: int) -> None:
        self.said: dict[int, int] = {}
        self.refused = refused

    def mallopt(self, parameter: int, value: int) -> int:
        self.said[parameter] = value
        return int(parameter not in self.refused)


def test_what_the_allocator_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    monkeypatch.setattr(module.ctypes, "CDLL", lambda _: told)
    for name in [name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"]:
        monkeypatch.delenv(name)
    assert keep_memory(12345)
    assert told.said == {Told.TRIM_THRESHOLD: 12345, Told.MMAP_THRESHOLD: 12345}
    assert keep_memory()
    assert set(told.said.values()) == {2**30}, "a command's tensors, up to a gibibyte"
    assert keep_membranes()
    assert told.said[Told.TRIM_THRESHOLD] == 128 * 2**20
    assert told.said[Told.MMAP_THRESHOLD] == 32 * 2**20, "the most that glibc takes"
    assert told.said[Told.ARENA_MAX] == 1, "one heap, whose end `give_back` reaches"


@pytest.mark.parametrize("refused", [Told.TRIM_THRESHOLD, Told.MMAP_THRESHOLD, Told.ARENA_MAX])
def test_an_allocator_that_does_not_agree_is_not_said_to(monkeypatch: pytest.MonkeyPatch, refused: int) -> None:
    monkeypatch.setattr(module.ctypes, "CDLL", lambda _: Told(refused))
    assert not keep_membranes()


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
