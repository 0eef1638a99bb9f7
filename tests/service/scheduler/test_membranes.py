"""Membranes of many streams in one batch: gathered without copying, freed when abandoned."""

from collections.abc import Callable

import torch

from spikesight.service.scheduler.membranes import gather, membranes_of, release, scatter


def numbers(n: int) -> Callable[[int], torch.Tensor]:
    return lambda seed: torch.arange(n * 3).reshape(n, 3) + 100 * seed


def test_members_gather_without_copying_where_they_lie_together() -> None:
    batch = {"v": numbers(4)(0)}
    members = scatter(batch, 4)
    assert gather(members)["v"] is batch["v"]
    assert gather(members[1:3])["v"].data_ptr() == batch["v"][1:].data_ptr()
    mixed = gather([members[3], membranes_of({"v": numbers(1)(5)}), members[0]])["v"]
    assert torch.equal(mixed, torch.stack([batch["v"][3], numbers(1)(5)[0], batch["v"][0]]))


def test_an_abandoned_batch_is_freed() -> None:
    members = scatter({"v": numbers(8)(0)}, 8)
    whole, expected = members[5].batch.state["v"], members[5].state()["v"].clone()
    release(members[:5] + members[6:])
    assert members[5].state()["v"].untyped_storage().data_ptr() != whole.untyped_storage().data_ptr()
    assert len(members[5].batch.members) == 1
    assert torch.equal(members[5].state()["v"], expected)


def test_half_a_batch_is_kept_and_less_is_copied() -> None:
    members = scatter({"v": numbers(4)(0)}, 4)
    batch = members[0].batch
    release(members[2:])
    assert members[0].batch is members[1].batch is batch
    assert batch.live == 2
    release(members[1:2])
    assert members[0].batch is not batch
    assert (members[0].index, batch.live) == (0, 0)
    assert torch.equal(members[0].state()["v"], numbers(4)(0)[:1])
