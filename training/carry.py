"""What a batch begins with: draws that follow from numbers alone, and membranes carried over from another batch."""

import numpy as np
import torch

from models.neurons import State


def seeded(*numbers: int) -> torch.Generator:
    """A generator that follows from the numbers alone."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1))


def carried_state(state: State, last: State | None, chance: float, generator: torch.Generator) -> State:
    """For each sample, by chance, the membranes that another sample of the batch before left behind; else zero."""
    if last is None or not chance:
        return state
    batch = next(iter(last.values())).shape[0]
    keep = torch.rand(batch, generator=generator) < chance
    order = torch.randperm(batch, generator=generator)
    return {
        key: tensor[order.to(tensor.device)] * keep.to(tensor).view(-1, *[1] * (tensor.ndim - 1))
        for key, tensor in last.items()
    }
