"""Places of a full frame: a spiking ResNet that reads them answers at each one, for views that show more than one
thing.

A network of stride STRIDE whose last map is CELL_WINDOW x CELL_WINDOW where it reads one object, in a full frame of 34
x 34, reads a larger view place by place: CELL_WINDOW x CELL_WINDOW cells of its last map are one place. Cells in its
middle weigh most, so that what lies beside an object counts little. "None of the classes" has the logit 0.
"""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

STRIDE = 8  # pixels of the view between two places
CELL_WINDOW = 5  # cells of the last map a place sees, a side
CELL_OFFSET = STRIDE * (CELL_WINDOW // 2) + 0.5  # pixels from the view's corner to the middle of the first place


def pool_output_cells(spikes: Tensor) -> Tensor:
    """Return the weighted means [T, N, H - 4, W - 4, C] of maps [T, N, C, H, W] at their places."""
    side = torch.arange(CELL_WINDOW, dtype=spikes.dtype, device=spikes.device)
    side = torch.minimum(side + 1, CELL_WINDOW - side)
    channels = spikes.shape[2]
    weights = (side[:, None] * side / side.sum() ** 2).expand(channels, 1, CELL_WINDOW, CELL_WINDOW).contiguous()
    return conv2d(spikes.flatten(0, 1), weights, groups=channels).unflatten(0, spikes.shape[:2]).movedim(2, -1)
