"""Draw docs/pictures/encodings.png and encodings-trains.png: a digit in all encodings.

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
SIDE, ROW = 28, 16  # side of the digit; the row of pixels whose spike trains are drawn
SHOWN, LONG = 10, 32  # steps of the two pictures
EXTENT = (0.5, LONG + 0.5, SIDE - 0.5, -0.5)  # steps are counted from 1, pixels from 0
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
    save(figure, "encodings.png")


def draw_trains() -> None:
    """Draw the spike trains of one row of pixels over 32 steps, one panel an encoding."""
    made = codes(LONG)
    panels = {name: x_seq[:, ROW] for name, x_seq in made.items()}
    columns = 5
    lines = -(-(len(panels) + 1) // columns)
    figure, grid = plt.subplots(lines, columns, figsize=(8.6, 1.9 * lines), squeeze=False, sharey=True)
    for axes, (name, trains) in zip(grid.flat, panels.items()):
        axes.imshow(trains.T, cmap="gray_r", vmin=0, vmax=1, aspect="auto", interpolation="nearest", extent=EXTENT)
        axes.set_title(name, fontsize=8, pad=3)
    last = grid.flat[len(panels)]
    seen = events(LONG)[:, :, ROW + 3, 3 : 3 + SIDE]
    last.imshow(polarity_picture(seen.transpose(1, 2, 0)), aspect="auto", interpolation="nearest", extent=EXTENT)
    last.set_title("DVS events", fontsize=8, pad=3)
    for axes in list(grid.flat)[len(panels) + 1 :]:
        axes.set_visible(False)
    for axes in grid.flat:
        axes.tick_params(labelsize=6, length=2)
        axes.set_xlabel("step", fontsize=7, labelpad=1)
    for line in grid:
        line[0].set_ylabel(f"pixel of row {ROW}", fontsize=7)
    figure.tight_layout(pad=0.6)
    save(figure, "encodings-trains.png")


def save(figure: plt.Figure, name: str) -> None:
    """Save a small PNG whose bytes do not depend on the date."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURES / name, dpi=100, metadata={"Software": None}, facecolor="white")
    print(f"wrote docs/pictures/{name}")


if __name__ == "__main__":
    draw_frames()
    draw_trains()
