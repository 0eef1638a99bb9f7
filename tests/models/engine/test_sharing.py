"""One call shared among threads: the same bits for any number, and after a fork."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from spikesight.encoders.native.build import library
from spikesight.models.checkpoint import load
from spikesight.models.conversion.ann_to_snn import convert
from spikesight.models.engine.engine import Engine, can_run, engine_status
from spikesight.models.native.threads import use_threads
from spikesight.models.shipped import shipped
from tests.support.models import lively
from tests.support.networks import EVENT, assert_same, inputs
from tests.support.processes import in_fresh_process

pytestmark = pytest.mark.skipif(library() is None, reason=engine_status())
COUNTS = (2, 3, 5)


@pytest.fixture(autouse=True, params=["always", "where it pays"])
def _shared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work is handed over however little it is, and where a hand-over costs no more than it brings."""
    if request.param == "always":
        monkeypatch.setattr("spikesight.models.engine.engine.HAND_OVER_NS", 0)
    yield
    use_threads(None)


def assert_no_number_of_threads_changes_a_bit(engine: Engine, x_seq: Tensor) -> None:
    """Against a run in one thread, two in each number of them: the second knows how long the first took."""
    use_threads(1)
    alone = engine.run(x_seq)
    assert int(alone.layer_spikes.sum()) > 0
    for count in COUNTS:
        use_threads(count)
        for _ in range(2):
            assert_same(engine.run(x_seq), alone)


def runnable() -> list[str]:
    return [name for name, folder in shipped().items() if can_run(load(folder)[0])]


@pytest.mark.parametrize("name", runnable())
@pytest.mark.parametrize("streams", [1, 2, 7])
def test_a_shipped_model(name: str, streams: int) -> None:
    network, card = load(shipped()[name])
    shape = card.contract.shape
    engine = Engine(network, *shape[1:], rates=2)
    generator = torch.Generator().manual_seed(streams)
    x_seq = (torch.rand(3, streams, *shape, generator=generator) < 0.1).to(torch.uint8)
    assert_no_number_of_threads_changes_a_bit(engine, x_seq)
    assert_no_number_of_threads_changes_a_bit(engine, x_seq[:1].float().expand(3, -1, -1, -1, -1))  # a still image


@pytest.mark.parametrize("choice", ["auto", "events", "dense"])
@pytest.mark.parametrize("block", ["plain", "sew", "ms"])
def test_every_block_and_kernel(block: str, choice: str) -> None:
    network = lively(replace(EVENT, block=block, pool="max", widths=(64, 80)))  # type: ignore[arg-type]
    engine = Engine(network, 37, 29, choice=choice, rates=3, places=3)
    assert_no_number_of_threads_changes_a_bit(engine, inputs(4, 3, size=(37, 29)))


def test_a_converted_network(resnet: nn.Module, images: Tensor) -> None:
    network = convert(resnet, [images], "ours", steps=4)
    x_seq = images[:3].expand(4, -1, -1, -1, -1)
    assert_no_number_of_threads_changes_a_bit(Engine(network, *images.shape[2:]), x_seq)


KEPT = """
import os, torch
from spikesight.models.engine import engine as module
from spikesight.models.native.threads import use_threads
from tests.support.models import lively
from tests.support.networks import EVENT, assert_same, inputs
module.HAND_OVER_NS = 0
engine, x_seq = module.Engine(lively(EVENT), 17, 13), inputs(3, 1)
def threads(): return len(os.listdir("/proc/self/task"))
use_threads(1)
alone, before = engine.run(x_seq), threads()
use_threads(3)
def check():
    for _ in range(5):
        assert_same(engine.run(x_seq), alone)
check()
kept = threads() - before
for depth in range(2):  # a child, and its child
    if child := os.fork():
        break
    inherited = threads()
    check()
    assert (inherited, threads()) == (1, 3), (inherited, threads())
else:
    os._exit(0)
ended = os.waitpid(child, 0)[1]
if depth:
    os._exit(os.waitstatus_to_exitcode(ended))
check()
print(kept, threads() - before, ended)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted where Linux lists them")
def test_threads_are_kept_and_a_forked_process_makes_its_own() -> None:
    assert in_fresh_process(KEPT) == "2 2 0"
