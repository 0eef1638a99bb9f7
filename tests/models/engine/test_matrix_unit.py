"""Dense frames on the matrix unit (AMX): a float's precision, and company still changes nothing."""

from dataclasses import replace

import pytest
import torch

from spikesight.models.engine.engine import Engine
from spikesight.models.engine.plan import has_matrix_unit, split
from spikesight.models.networks.resnet import NETWORKS, ResNetConfig
from tests.support.models import lively
from tests.support.networks import assert_no_bit_changes, inputs

needs_it = pytest.mark.skipif(not has_matrix_unit(), reason="this CPU has no matrix unit")
WIDE = replace(NETWORKS["event-medium"], depths=(1, 1, 1), widths=(32, 64, 96))  # all multiples of a block


def test_three_parts_are_the_weight_itself() -> None:
    weight = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    high, middle, low = split(weight, 3)
    assert torch.equal(high.double() + middle.double() + low.double(), weight.double())
    assert torch.equal(split(weight, 1)[0], weight.bfloat16())


@needs_it
@pytest.mark.parametrize("block", ["plain", "sew", "ms"])
@pytest.mark.parametrize("size", [(17, 13), (66, 50), (8, 70)])
def test_dense_frames_are_the_networks(block: str, size: tuple[int, int]) -> None:
    config: ResNetConfig = replace(WIDE, block=block)  # type: ignore[arg-type]
    network, x_seq = lively(config), inputs(3, 2, size=size)
    engine = Engine(network, *size, choice="dense")
    with torch.inference_mode():
        logits = network(x_seq.float())[0]
    assert logits.abs().max() > 0
    assert (engine.run(x_seq).logits - logits).abs().max() < 1e-4
    assert not any(use.event_driven for use in engine.uses())


@needs_it
def test_company_and_cutting_change_no_bit() -> None:
    network, x_seq = lively(WIDE), inputs(4, 3, size=(34, 34))
    for precision in ("fp32", "bf16"):
        engine = Engine(network, 34, 34, precision=precision)
        engine.run(x_seq)
        assert sum(use.event_driven < 1 for use in engine.uses()) > 0  # some frames were multiplied
        assert_no_bit_changes(engine, x_seq)
