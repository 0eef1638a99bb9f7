"""Membranes of many streams in one batch: gathered without copying, freed when abandoned."""

import torch

from spikesight.service.scheduler.membranes import gather, membranes_of, release, scatter


def numbers(n: int, begin: int = 0) -> dict[str, torch.Tensor]:
    return {"v": torch.arange(n * 3).reshape(n, 3) + begin}


def test_members_gather_without_copying_where_they_lie_together() -> None:
    batch, other = numbers(4), numbers(1, 500)
    members = scatter(batch, 4)
    assert gather(members)["v"] is batch["v"]
    assert gather(members[1:3])["v"].data_ptr() == batch["v"][1:].data_ptr()
    mixed = gather([members[3], membranes_of(other), members[0]])["v"]
    assert torch.equal(mixed, torch.stack([batch["v"][3], other["v"][0], batch["v"][0]]))


def test_half_a_batch_is_kept_and_of_less_each_has_a_copy() -> None:
    members = scatter(numbers(6), 6)
    batch = members[0].batch
    release(members[3:])
    assert all(one.batch is batch for one in members[:3])
    release(members[1:2])
    assert members[0].batch is not members[2].batch is not batch
    for n in (0, 2):
        assert torch.equal(members[n].state()["v"], numbers(6)["v"][n : n + 1])
        assert members[n].state()["v"].untyped_storage().data_ptr() != batch.state["v"].untyped_storage().data_ptr()
