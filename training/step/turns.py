"""Quarter turns and mirror images of recordings of directions: what is seen turns, and its name with it."""

import torch
from torch import Tensor

QUARTER = {"right": "up", "up": "left", "left": "down", "down": "right"}  # counter-clockwise on the picture
MIRROR = {"left": "right", "right": "left", "clockwise": "counter-clockwise", "counter-clockwise": "clockwise"}


def renamed(labels: tuple[str, ...], quarters: int, mirrored: bool) -> Tensor:
    """For each class the one it becomes: int64 [K]. Other names than those above stay. Raises ValueError.

    >>> renamed(("down", "left", "right", "still", "up"), 1, False).tolist()
    [2, 0, 4, 3, 1]
    """
    names = list(labels)
    for _ in range(quarters):
        names = [QUARTER.get(name, name) for name in names]
    if mirrored:
        names = [MIRROR.get(name, name) for name in names]
    if missing := set(names) - set(labels):
        raise ValueError(f"turned recordings need the classes {', '.join(sorted(missing))} too")
    return torch.tensor([labels.index(name) for name in names])


def turn(frames: Tensor, targets: Tensor, labels: tuple[str, ...], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Each sample of frames [N, T, C, H, H] by one of the square's eight symmetries, drawn alike, and its class [N].

    Raises ValueError for frames that are not square, or directions that are not all among the classes.
    """
    if frames.shape[-1] != frames.shape[-2]:
        raise ValueError(f"turned recordings must be square, not {frames.shape[-1]} x {frames.shape[-2]}")
    kind = torch.randint(0, 8, (len(frames),), generator=generator).to(frames.device)
    frames, targets = frames.clone(), targets.clone()
    for quarters in range(4):
        for mirrored in (False, True):
            rows = kind == quarters * 2 + mirrored
            seen = torch.rot90(frames[rows], quarters, (3, 4))
            frames[rows] = seen.flip(4) if mirrored else seen
            targets[rows] = renamed(labels, quarters, mirrored).to(targets.device)[targets[rows]]
    return frames, targets
