"""Membranes of many lanes in one batch: gathered without copying, freed when abandoned."""

from collections.abc import Callable

import torch

from service.scheduler.membranes import gather, release, row_of, scatter


def rows_of(n: int) -> Callable[[int], torch.Tensor]:
    return lambda seed: torch.arange(n * 3).reshape(n, 3) + 100 * seed


def test_rows_gather_without_copying_where_they_lie_together() -> None:
    batch = {"v": rows_of(4)(0)}
    rows = scatter(batch, 4)
    assert gather(rows)["v"] is batch["v"]
    assert gather(rows[1:3])["v"].data_ptr() == batch["v"][1:].data_ptr()
    mixed = gather([rows[3], row_of({"v": rows_of(1)(5)}), rows[0]])["v"]
    assert torch.equal(mixed, torch.stack([batch["v"][3], rows_of(1)(5)[0], batch["v"][0]]))


def test_an_abandoned_batch_is_freed() -> None:
    rows = scatter({"v": rows_of(8)(0)}, 8)
    expected = rows[5].state()["v"].clone()
    release(rows[:5] + rows[6:])
    assert len(rows[5].batch.rows) == 1
    assert torch.equal(rows[5].state()["v"], expected)
