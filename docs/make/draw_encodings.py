"""Draw docs/pictures/encodings.png: a digit in all encodings.

python docs/make/draw_encodings.py
"""

from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import torch
from numpy.typing import NDArray

from spikesight.encoders.dvs import DvsEncoder
from spikesight.encoders.emulator.saccades import saccades
from spikesight.encoders.events import SensorSize
from spikesight.encoders.image import IMAGE_ENCODERS, Latency

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

PICTURES = Path(__file__).resolve().parent.parent / "pictures"
SIDE, SHOWN = 28, 10  # side of the digit; steps of the picture
SENSOR = SensorSize(34, 34)
OFF, ON = (0.90, 0.62, 0.0), (0.0, 0.45, 0.70)  # colour-blind safe (Okabe and Ito)
BACK = (0.97, 0.97, 0.97)


def digit() -> NDArray[np.uint8]:
    """Draw a 2 with soft edges, light on dark, uint8 [28, 28]."""
    big = np.zeros((280, 280), np.uint8)
    cv2.putText(big, "2", (62, 226), cv2.FONT_HERSHEY_SIMPLEX, 7.2, 255, 30, cv2.LINE_AA)
    return cv2.resize(cv2.GaussianBlur(big, (0, 0), 5), (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.uint8)


def codes(steps: int) -> dict[str, NDArray[np.float32]]:
    """Encode the digit by every image encoder, [T, 28, 28] by the name to show."""
    image = torch.from_numpy(digit())[None, None].float() / 255
    found = {}
    for name, kind in IMAGE_ENCODERS.items():
        found[name] = kind(steps)(image, generator=torch.Generator().manual_seed(0))[:, 0, 0].numpy()
        if name == "latency":
            found["latency, log"] = Latency(steps, "log")(image)[:, 0, 0].numpy()
    return found


def events(steps: int) -> NDArray[np.uint8]:
    """Return event frames [T, 2, 34, 34] of the digit, moved by three saccades in 310 ms."""
    made = saccades(digit(), SENSOR, seed=0)
    return DvsEncoder(SENSOR, (34, 34), 310_000 // steps, steps, "binary")(made)[:, 0]


def polarity_picture(off_on: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Colour event frames [2, H, W] by polarity, [H, W, 3]."""
    picture = np.full((*off_on.shape[1:], 3), BACK)
    picture[off_on[0] > 0] = OFF
    picture[off_on[1] > 0] = ON
    return picture


def bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_linewidth(0.4)


def draw_frames() -> None:
    """Draw the network's input at each of ten steps, one row an encoding."""
    rows = codes(SHOWN)
    figure, grid = plt.subplots(len(rows) + 1, SHOWN + 1, figsize=(8.6, 0.76 * (len(rows) + 1)), squeeze=False)
    for line, (name, x_seq) in zip(grid, rows.items()):
        line[0].imshow(digit(), cmap="gray_r", vmin=0, vmax=255)
        line[0].set_ylabel(name.replace(", ", "\n").replace("_", "\n"), rotation=0, ha="right", va="center", fontsize=8)
        for axes, frame in zip(line[1:], x_seq):
            axes.imshow(frame, cmap="gray_r", vmin=0, vmax=1)
    grid[-1][0].imshow(digit(), cmap="gray_r", vmin=0, vmax=255)
    grid[-1][0].set_ylabel("DVS\nevents", rotation=0, ha="right", va="center", fontsize=8)
    for axes, bins in zip(grid[-1][1:], events(SHOWN)):
        axes.imshow(polarity_picture(bins))
    for axes in grid.flat:
        bare(axes)
    for step, axes in enumerate(grid[0][1:], 1):
        axes.set_title(f"step {step}", fontsize=7, pad=2)
    grid[0][0].set_title("image", fontsize=7, pad=2)
    figure.subplots_adjust(0.085, 0.01, 0.995, 0.97, 0.05, 0.05)
    figure.savefig(PICTURES / "encodings.png", dpi=100, metadata={"Software": None}, facecolor="white")


if __name__ == "__main__":
    draw_frames()
