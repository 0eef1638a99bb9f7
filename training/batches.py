"""Batches of a run: gathered, augmented, encoded; the next one made ahead where rows are slow to get."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from training.augment import fewer_steps, mix
from training.carry import seeded
from training.data import Data
from training.inputs import training_input
from training.processes import Processes


class Batch(NamedTuple):
    """What one optimiser step learns from."""

    step: int
    x_seq: Tensor  # [T, n, C, H, W], augmented
    targets: Tensor  # classes [n] or shares of classes [n, K]
    generator: torch.Generator  # for the draws that follow


class Batches:
    """Makes the batches of one run."""

    def __init__(self, data: Data, processes: Processes) -> None:
        self._data, self._processes = data, processes
        slow_rows = processes.device.type == "cuda" or not isinstance(data.train.frames, np.ndarray)
        self._maker = ThreadPoolExecutor(1) if slow_rows else None
        self._ahead: Future[Batch] | None = None
        self._expected: np.ndarray | None = None

    @property
    def works_ahead(self) -> bool:
        """Whether the next batch is made while this one is learnt."""
        return self._maker is not None

    def make(self, rows: np.ndarray, step: int) -> Batch:
        """This process's share of the augmented batch of a step; the draws follow from seed and step alone."""
        config, train = self._data.config, self._data.train
        generator, device = seeded(config.seed, 1, step), self._processes.device
        rows = np.sort(rows)
        stored = torch.from_numpy(np.array(train.frames[rows])).to(device)
        targets = torch.from_numpy(train.labels[rows]).to(device)
        x_seq = training_input(stored, config, self._data.contract, generator)
        x_seq = fewer_steps(x_seq, config, generator)
        if config.mixup or config.event_mix:
            mixed = mix(x_seq, targets, len(self._data.labels), config, generator)
            x_seq, targets = mixed.x_seq, mixed.targets
        return Batch(step, self._processes.share(x_seq, 1), self._processes.share(targets), generator)

    def expect(self, rows: np.ndarray | None) -> None:
        """The rows that the step after the coming one will learn from."""
        self._expected = rows

    def take(self, rows: np.ndarray, step: int) -> Batch:
        """The batch of this step; begins to make the expected one."""
        batch = self._ahead.result() if self._ahead is not None else None
        if batch is None or batch.step != step:
            batch = self.make(rows, step)
        expected, self._ahead = self._expected, None
        if self._maker is not None and expected is not None:
            self._ahead = self._maker.submit(self.make, expected, step + 1)
        return batch
