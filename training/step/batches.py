"""Make training batches from stored samples: read, augment, encode; in the background where reading is slow.

Random numbers depend on the seed and the step alone; membrane potentials may be carried over from another batch.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from spikesight.encoders.image import IMAGE_ENCODERS
from spikesight.models.contract import Contract
from spikesight.models.neurons.state import State
from spikesight.training.config import TrainConfig
from spikesight.training.data import Data, Frames
from spikesight.training.distributed import ProcessGroup
from spikesight.training.step.augment import augment, crop_middle, move_images

OUTLIERS = 0.6  # for each sample of a class


class TrainingBatch(NamedTuple):
    """The n samples of one optimiser step, with their labels."""

    step: int
    x_seq: Tensor  # [T, n, C, H, W], augmented
    targets: Tensor  # classes [n]
    generator: torch.Generator  # for random numbers drawn later in this step


class Batches:
    """Makes the batches of a run; where reading is slow, the next batch is made in the background."""

    def __init__(self, data: Data, processes: ProcessGroup) -> None:
        self._data, self._processes = data, processes
        slow_rows = processes.device.type == "cuda" or not isinstance(data.train.frames, np.ndarray)
        self._maker = ThreadPoolExecutor(1) if slow_rows else None
        self._ahead: Future[TrainingBatch] | None = None

    def make(self, rows: np.ndarray, step: int) -> TrainingBatch:
        """Return this process's share of the augmented batch of samples `rows`."""
        config, train, outliers = self._data.config, self._data.train, self._data.outliers
        generator, device = seeded(config.seed, 1, step), self._processes.device
        rows = np.sort(rows)
        chosen = Frames(np.array(train.frames[rows]), train.labels[rows])
        if outliers is not None:
            drawn = torch.randint(len(outliers), (round(OUTLIERS * len(rows)),), generator=generator)
            chosen = chosen.concatenated(outliers.take(drawn.numpy()))
        stored = torch.from_numpy(chosen.frames).to(device)
        targets = torch.from_numpy(chosen.labels).to(device)
        x_seq = training_input(stored, config, self._data.contract, generator)
        return TrainingBatch(step, self._processes.share(x_seq, 1), self._processes.share(targets), generator)

    def take(self, rows: np.ndarray, step: int, next_rows: np.ndarray | None = None) -> TrainingBatch:
        """Return the batch of this step; start to make the next step's, of `next_rows` (None: there is none)."""
        batch = self._ahead.result() if self._ahead is not None else None
        if batch is None or batch.step != step:
            batch = self.make(rows, step)
        self._ahead = None
        if self._maker is not None and next_rows is not None:
            self._ahead = self._maker.submit(self.make, next_rows, step + 1)
        return batch


def training_input(stored: Tensor, config: TrainConfig, contract: Contract, generator: torch.Generator) -> Tensor:
    """Turn stored samples, uint8 [N, T or 1, C, H, W], into augmented x_seq, float32 [T, N, C, H, W]."""
    if contract.kind == "events":
        return augment(stored.float(), config, generator).transpose(0, 1).contiguous()
    images = move_images(stored[:, 0].float() / 255, config, (contract.height, contract.width), generator)
    return encode(images, contract, generator)


def evaluation_input(stored: Tensor, contract: Contract) -> Tensor:
    """Turn stored samples, uint8 [N, T or 1, C, H, W], into x_seq, float32 [T, N, C, H, W]; random encodings repeat."""
    if contract.kind == "events":
        return stored.transpose(0, 1).float()
    images = crop_middle(stored[:, 0].float() / 255, (contract.height, contract.width))
    return encode(images, contract, torch.Generator(images.device).manual_seed(0))


def encode(images: Tensor, contract: Contract, generator: torch.Generator) -> Tensor:
    """Encode images [N, C, H, W] in [0, 1] as x_seq [T, N, C, H, W], as the contract says."""
    if contract.mean and contract.encoding == "direct":
        mean, std = (images.new_tensor(v).view(-1, 1, 1) for v in (contract.mean, contract.std))
        images = (images - mean) / std
    encoder = IMAGE_ENCODERS[contract.encoding](contract.steps)
    if generator.device != images.device:  # the same draws on every device
        return encoder(images.cpu(), generator=generator).to(images.device)
    return encoder(images, generator=generator)


def seeded(*numbers: int) -> torch.Generator:
    """Return a random generator seeded with all of the numbers."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1))


def carried_state(state: State, last: State | None, chance: float, generator: torch.Generator) -> State:
    """Return initial states: with probability `chance` the last state of a random sample of the last batch, else 0."""
    if not last or chance <= 0:
        return state
    batch = next(iter(last.values())).shape[0]
    keep = torch.rand(batch, generator=generator) < chance
    order = torch.randperm(batch, generator=generator)
    return {
        key: tensor[order.to(tensor.device)] * keep.to(tensor).view(-1, *[1] * (tensor.ndim - 1))
        for key, tensor in last.items()
    }
