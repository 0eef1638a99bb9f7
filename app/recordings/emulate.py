"""`spikesight emulate`: turn images or a video into events, as an event camera would have recorded them."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spikesight.app.recordings.progress import new_format, warn
from spikesight.encoders.emulator.pixels import Emulator, PixelModel
from spikesight.encoders.emulator.saccades import Saccades, ground, light_on_dark, saccades
from spikesight.encoders.events import NMNIST_SENSOR, Events, EventsError, SensorSize
from spikesight.encoders.preprocess.fit import DIGIT_BOX, DIGIT_SIZE
from spikesight.encoders.recordings.files import FORMATS, WRITABLE, write_recording
from spikesight.encoders.sample import is_image, read_pixels
from spikesight.encoders.words import counted

DESCRIPTION = """Turn images into recordings of events, or a video into one recording.

  spikesight emulate photos/ events/ --size 128x128      <class>/<image> becomes <class>/<image>.npz
  spikesight emulate photos/ events/ --size 346x260 --format aedat4
  spikesight emulate clip.mp4 clip.aedat4 --threshold 0.15

Images are moved before an emulated camera as for N-MNIST: three saccades in 0.3 s.
Of a drawing, whose border is even, the drawn part is shown as large as an upload's; light on dark as dark on light,
as N-MNIST has it. Photographs are shown as they are.
"""

DRAWN = 0.25  # least difference from the ground, by the largest, of what is drawn


@dataclass(frozen=True)
class PictureFile:
    """A grey image uint8 [H, W], its class, and a name without suffix."""

    grey: NDArray[np.uint8]
    label: str
    name: str
    inverted: bool  # to be shown as dark on light


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("source", type=Path, metavar="IN", help="folder of images, or a video")
    add("target", type=Path, metavar="OUT", help="folder, or for a video a file")
    add("--size", type=SensorSize.parse, metavar="WxH", help="sensor (default: 34x34; a video's own)")
    kinds = "of the recordings (default: npz; of a video by the file's name)"
    add("--format", choices=WRITABLE, help=kinds)
    add("--threshold", type=float, help="contrast of one event, in log intensity")
    add("--noise", type=float, help="noise events of a pixel a second")
    add("--steady", action="store_true", help="video: take out what all pixels share (lamp flicker)")
    add("--seed", type=int, default=0, help="of pixels and noise")
    add("--force", action="store_true", help="video: write over a file that exists")


def run(args: argparse.Namespace) -> int:
    """Emulate a data set or a video; return the exit code."""
    if args.source.is_file():
        return _video(args)
    if not args.source.is_dir():
        raise EventsError(f"there is no {args.source}")
    name = args.format or "npz"
    sensor = args.size or NMNIST_SENSOR
    done = n = 0
    for index, picture in enumerate(pictures(args.source)):
        movement = Saccades(inverted=picture.inverted, **_pixels(args))
        events = saccades(picture.grey, sensor, movement=movement, seed=args.seed + index)
        if not len(events):
            warn(f"{picture.label}/{picture.name} gives no events")
            continue
        path = args.target / picture.label / f"{picture.name}{FORMATS[name].suffixes[0]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_recording(path, events, sensor, name)
        done, n = done + 1, n + len(events)
    if not done:
        raise EventsError(f"there are no images in {args.source}: none <class>/<image>")
    print(f"{args.target}: {counted(done, 'recording')} of {sensor} pixels, {n / done:,.0f} events each")
    return 0


def _pixels(args: argparse.Namespace) -> dict[str, Any]:
    """Return the changes to the pixel model that the flags ask for."""
    given = {"threshold_on": args.threshold, "threshold_off": args.threshold, "noise_hz": args.noise}
    return {name: value for name, value in given.items() if value is not None}


def pictures(folder: Path) -> Iterator[PictureFile]:
    """Yield the images of `<class>/<image>` files."""
    taken = set[Path]()
    for path in sorted(folder.glob("*/*")):
        if is_image(path):
            pixels = read_pixels(path.read_bytes())
            if pixels is None:
                warn(f"{path} is no image")
                continue
            name = path.name if path.with_suffix("") in taken else path.stem  # 1.jpg may lie beside 1.png
            taken.add(path.with_suffix(""))
            grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
            yield PictureFile(framed(grey), path.parent.name, name, light_on_dark(grey))


def framed(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the drawing in a picture of an even border, framed as MNIST's: 20 of 28 pixels, its mass in the middle.

    Any other picture, also one of nothing, is returned as it is.
    """
    paper = ground(grey)
    ink = np.abs(grey.astype(np.float64) - (paper or 0))
    rows, columns = np.nonzero(ink > DRAWN * max(ink.max(), 1.0))
    if paper is None or not len(rows):
        return grey
    box = ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    side = max(4, round(max(box.shape) * DIGIT_SIZE / DIGIT_BOX))
    down, across = (np.arange(n) @ box.sum(1 - axis) / box.sum() for axis, n in enumerate(box.shape))
    top, left = round(rows.min() + down - (side - 1) / 2), round(columns.min() + across - (side - 1) / 2)
    around = np.pad(grey, side, constant_values=paper)
    return around[top + side : top + 2 * side, left + side : left + 2 * side]


def _video(args: argparse.Namespace) -> int:
    name = new_format(args)
    capture = cv2.VideoCapture(str(args.source))
    if not capture.isOpened():
        raise EventsError(f"{args.source} is no video that can be opened, and no folder of images")
    rate = capture.get(cv2.CAP_PROP_FPS) or 30.0
    frame = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    size = args.size or SensorSize(*frame)
    params = PixelModel(steady=args.steady, **_pixels(args))
    events = video_events(capture, Emulator(size, params, args.seed), rate)
    n = write_recording(args.target, events, size, name)
    print(f"{args.target}: {counted(n, 'event')} of {size} pixels, {name}")
    return 0


def video_events(capture: cv2.VideoCapture, camera: Emulator, rate: float) -> Iterator[Events]:
    """Yield the emulated camera's events between each frame and the next; `rate` in frames a second."""
    target = (camera.size.width, camera.size.height)
    number = 0
    while True:
        good, frame = capture.read()
        if not good:
            capture.release()
            return
        grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        scaled = cv2.resize(grey, target, interpolation=cv2.INTER_AREA)
        yield camera.push(np.asarray(scaled, np.uint8), round(number * 1e6 / rate))
        number += 1
