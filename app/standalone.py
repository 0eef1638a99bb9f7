"""Export a network as a folder that classifies in the browser; any static web server can serve it.

It contains the page, the engine in WebAssembly with the network as its memory, an emulator in JavaScript with the same
pixels as the Python one, and the sample recordings that show classes of the network.
"""

import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch import nn

from spikesight.app.c_folder import alignment, gate_from_hz
from spikesight.encoders.emulator.pixels import Emulator, PixelModel, log_levels
from spikesight.encoders.emulator.saccades import NMNIST
from spikesight.encoders.events import SensorSize
from spikesight.encoders.roi.frame_tracker import PIXELS
from spikesight.encoders.sources import samples as shipped_samples
from spikesight.models.classifier.inputs import sensor_of
from spikesight.models.contract import Card
from spikesight.models.export.block import write_block
from spikesight.models.export.parity import ExportError, new_folder
from spikesight.models.native.targets import ENGINE
from spikesight.models.steps import label_rules
from spikesight.service.page.routes import PAGE

FRAME, SEEN = SensorSize(320, 240), PixelModel()  # size of the page's frames; pixel model for whole frames


def write_folder(folder: Path | str, network: nn.Module, card: Card, name: str) -> None:
    """Write the folder, which must be new or empty. Raises ExportError; nothing is written then."""
    if card.contract.kind != "events":
        raise ExportError("the browser version emulates an event camera, so it needs a model that takes events")
    with new_folder(Path(folder)) as partial:
        content, engine = write_block(network, card)
        (partial / "model.bin").write_bytes(content)
        for part in ("shared", "offline"):
            shutil.copytree(PAGE / part, partial / part, ignore=shutil.ignore_patterns(".*"))
        (partial / "offline" / "index.html").rename(partial / "index.html")
        shutil.copyfile(ENGINE, partial / "engine.wasm")
        write_facts(partial, card, name, engine)


def write_facts(folder: Path, card: Card, name: str, engine: dict[str, Any]) -> None:
    """Write model.json, the emulator's pixels and the sample recordings."""
    contract, follows = card.contract, card.contract.window == "drawing"
    samples = [one for one in shipped_samples.listing() if set(re.split(r"\W+", one.label)) & set(card.labels)]
    (folder / "samples").mkdir()
    for sample in samples:
        (folder / "samples" / f"{sample.name}.t64").write_bytes(shipped_samples.t64_of(sample.name))
    facts: dict[str, Any] = {
        "name": name,
        "labels": card.labels,
        "contract": asdict(contract),
        "known": card.novelty and card.novelty.facts(),
        "steady": label_rules(contract.horizon),
        "front": {"from_hz": gate_from_hz(contract), "shown": contract.shown_bins, **alignment(contract)},
        **engine,
        "tracker": tracker_of(sensor_of(contract)) if follows else None,
        "pixels": write_pixels(folder, PIXELS, sensor_of(contract)) if follows else write_pixels(folder),
        "samples": [asdict(sample) for sample in samples],
    }
    (folder / "model.json").write_text(json.dumps(facts, indent=1) + "\n")


def tracker_of(sensor: SensorSize) -> dict[str, Any]:
    """Return how a drawing found in frames is moved before the emulated pixels (encoders/roi/frame_tracker.py):
    path in pixels, millisecond by millisecond; stray light; taps of the lens's blur.
    """
    unit = min(sensor.width, sensor.height) / 34
    taps = cv2.getGaussianKernel(round(8 * NMNIST.blur_px * unit + 1) | 1, NMNIST.blur_px * unit)[:, 0]
    return {"path": NMNIST.corner(unit).tolist(), "floor": NMNIST.floor, "taps": taps.tolist()}


def write_pixels(folder: Path, pixels: PixelModel = SEEN, size: SensorSize = FRAME) -> dict[str, Any]:
    """Write pixels.f32, float32 [3, H, W]: ON and OFF thresholds and first references, drawn as an Emulator does.

    Return the emulator's other parameters.
    """
    made = Emulator(size, pixels)
    (folder / "pixels.f32").write_bytes(np.stack([made.on, made.off, made.start]).astype("<f4").tobytes())
    numbers = {"leakHz": pixels.leak_hz, "cutoffHz": pixels.cutoff_hz, "silentUs": pixels.refractory_us}
    return {"width": size.width, "height": size.height, "levels": log_levels(pixels.linear_below).tolist(), **numbers}
