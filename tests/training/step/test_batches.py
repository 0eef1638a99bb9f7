"""Batches follow from seed and step alone, whether they are made ahead or not."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from spikesight.models.contract import Contract
from spikesight.training.config import TrainConfig
from spikesight.training.distributed import Processes
from spikesight.training.step.batches import Batches, carried_state, encode, evaluation_input, seeded, training_input

EVENTS = Contract("events", 2, 5, 6, 3, "binary", 6, 5, 1000)
IMAGES = Contract("image", 3, 4, 4, 2, "direct", mean=(0.5, 0.25, 0.0), std=(0.25, 0.5, 1.0))
PROCESSES = Processes(torch.device("cpu"))


class OnDisk:
    """Rows that are decoded when they are read, and who read them."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows, self.read, self.shape = rows, [], rows.shape  # type: ignore[var-annotated]

    def __getitem__(self, rows: Any) -> np.ndarray:
        self.read.append(rows.tolist())
        return self.rows[rows]


def data(slow: bool = False, **settings: Any) -> Any:
    frames = np.random.default_rng(0).integers(0, 2, (8, 3, 2, 5, 6)).astype(np.uint8)
    train = SimpleNamespace(frames=OnDisk(frames) if slow else frames, labels=np.arange(8))
    config = TrainConfig.of(shift=1, **settings)
    return SimpleNamespace(train=train, config=config, contract=EVENTS, labels=tuple("abcdefgh"))


def test_a_batch_follows_from_seed_and_step() -> None:
    rows = np.array([5, 1, 3])
    first, again = (Batches(data(), PROCESSES).make(rows, 4) for _ in range(2))
    assert torch.equal(first.x_seq, again.x_seq)
    assert first.targets.tolist() == [1, 3, 5], "rows are read in order"
    assert first.x_seq.shape == (3, 3, 2, 5, 6)
    assert not torch.equal(first.x_seq, Batches(data(), PROCESSES).make(rows, 5).x_seq)
    assert not torch.equal(first.x_seq, Batches(data(seed=1), PROCESSES).make(rows, 4).x_seq)


def test_slow_rows_are_read_one_step_ahead_and_give_the_same() -> None:
    slow, quick = data(slow=True), data()
    ahead, plain = Batches(slow, PROCESSES), Batches(quick, PROCESSES)
    assert ahead.works_ahead
    assert not plain.works_ahead
    order = [np.array([n, n + 1]) for n in range(4)]
    for step, rows in enumerate(order):
        for batches in (ahead, plain):
            batches.expect(order[step + 1] if step + 1 < len(order) else None)
        taken, wanted = ahead.take(rows, step), plain.take(rows, step)
        assert taken.step == step
        assert torch.equal(taken.x_seq, wanted.x_seq)
        assert torch.equal(taken.targets, wanted.targets)
    assert slow.train.frames.read == [rows.tolist() for rows in order], "each once"


def test_what_was_made_for_another_step_is_not_taken() -> None:
    batches = Batches(data(slow=True), PROCESSES)
    batches.expect(np.array([6, 7]))
    batches.take(np.array([0, 1]), 0)
    assert batches.take(np.array([2, 3]), 5).targets.tolist() == [2, 3]


def test_events_keep_their_numbers_and_time_comes_first() -> None:
    stored = torch.arange(2 * 3 * 2 * 5 * 6).reshape(2, 3, 2, 5, 6).to(torch.uint8)
    x_seq = evaluation_input(stored, EVENTS)
    assert x_seq.shape == (3, 2, 2, 5, 6)
    assert torch.equal(x_seq[1, 0], stored[0, 1].float())
    config = TrainConfig.of(shift=0, rotate=0.0, drop=0.0)
    assert torch.equal(training_input(stored, config, EVENTS, seeded(0)), x_seq)


def test_images_are_scaled_then_normalised_where_they_are_fed_as_they_are() -> None:
    stored = torch.full((1, 1, 3, 4, 4), 255, dtype=torch.uint8)
    x_seq = evaluation_input(stored, IMAGES)
    assert x_seq.shape == (2, 1, 3, 4, 4)
    assert x_seq[0, 0, :, 0, 0].tolist() == pytest.approx([2.0, 1.5, 1.0])
    spikes = evaluation_input(stored, replace(IMAGES, encoding="rate"))
    assert spikes.unique().tolist() == [1.0], "a code of spikes is not normalised"


def test_random_codes_are_alike_each_time_in_evaluation_only() -> None:
    stored, rate = torch.full((1, 1, 3, 4, 4), 128, dtype=torch.uint8), replace(IMAGES, encoding="rate", steps=8)
    assert torch.equal(evaluation_input(stored, rate), evaluation_input(stored, rate))
    images = stored[:, 0].float() / 255
    assert not torch.equal(encode(images, rate, seeded(1)), encode(images, rate, seeded(2)))


def test_generators_follow_from_all_their_numbers() -> None:
    draws = {tuple(torch.rand(2, generator=seeded(*n)).tolist()) for n in ((0, 0), (0, 1), (1, 0), (1, 1))}
    assert len(draws) == 4
    assert torch.equal(torch.rand(3, generator=seeded(4, 5)), torch.rand(3, generator=seeded(4, 5)))


@pytest.mark.parametrize(("chance", "kept"), [(0.0, None), (-1.0, None), (1.0, 6)])
def test_membranes_are_carried_by_chance(chance: float, kept: int | None) -> None:
    state, last = {"v": torch.full((6, 2), 9.0)}, {"v": torch.arange(1.0, 7).view(6, 1).expand(6, 2)}
    got = carried_state(state, last, chance, seeded(0))["v"]
    if kept is None:
        assert got is state["v"]
    else:
        assert sorted(got[:, 0].tolist()) == [1, 2, 3, 4, 5, 6], "each of another sample"
        assert torch.equal(got[:, 0], got[:, 1])


def test_every_draw_has_a_generator_of_its_own_numbers() -> None:
    state = int(np.random.SeedSequence((4, 5)).generate_state(1, np.uint64)[0])
    assert seeded(4, 5).initial_seed() == state >> 1
    made = Batches(data(seed=6), PROCESSES).make(np.array([5, 1]), 4)
    assert made.generator.initial_seed() == seeded(6, 1, 4).initial_seed()
    stored, rate = torch.full((1, 1, 3, 4, 4), 128, dtype=torch.uint8), replace(IMAGES, encoding="rate", steps=8)
    drawn = encode(stored[:, 0].float() / 255, rate, torch.Generator().manual_seed(0))
    assert torch.equal(evaluation_input(stored, rate), drawn)


def test_membranes_are_kept_and_exchanged_by_the_generator() -> None:
    last, draws = {"v": torch.arange(1.0, 7).view(6, 1), "w": torch.arange(1.0, 7).view(6, 1, 1)}, seeded(3)
    kept = torch.rand(6, generator=draws) < 0.5
    expected = last["v"][torch.randperm(6, generator=draws)] * kept.view(6, 1)
    got = carried_state({}, last, 0.5, seeded(3))
    assert torch.equal(got["v"], expected)
    assert torch.equal(got["w"].flatten(), expected.flatten())
    drawn = torch.rand(6, generator=seeded(3))
    none = carried_state({}, last, float(drawn.min()), seeded(3))["v"]
    assert not none.any(), "a draw must lie below the chance"
