"""Export a network as a folder that classifies in the browser; any static web server can serve it.

It contains the page, the engine in WebAssembly with the network as its memory, an emulator with the same pixels as the
Python one, and the sample recordings that show classes of the network. A network with weights for views
has a second memory, in which it looks all over the camera's frames. Both are packed by gzip, as not every static host
does it: most of a full frame's are counts that repeat.
"""

import gzip
import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from spikesight.app.c_folder import alignment, gate_from_hz
from spikesight.encoders.emulator.frames import PIXELS, MovedFrames
from spikesight.encoders.emulator.pixels import Emulator, PixelModel, log_levels
from spikesight.encoders.emulator.saccades import NMNIST
from spikesight.encoders.events import NMNIST_SENSOR, SensorSize
from spikesight.encoders.preprocess.fit import DIGIT_SIZE
from spikesight.encoders.pyramid import pyramid_of_frames
from spikesight.encoders.sources import samples as shipped_samples
from spikesight.models.classifier.tracker import output_cells_of, sizes_of
from spikesight.models.contract import Card
from spikesight.models.export.block import WEB, BlockMemory, judging, write_block
from spikesight.models.export.parity import ExportError, new_folder
from spikesight.service.page.routes import PAGE

FRAME, WHOLE = SensorSize(320, 240), PixelModel()  # size of the page's frames; pixels that see all of them


def write_folder(folder: Path | str, network: nn.Module, card: Card, name: str) -> None:
    """Write the folder, which must be new or empty. Raises ExportError; nothing is written then."""
    if card.contract.kind != "events":
        raise ExportError("the browser version emulates an event camera, so it needs a model that takes events")
    with new_folder(Path(folder)) as partial:
        layers, (_, height, width) = card.novelty.layers if card.novelty else 0, card.contract.shape
        memory = BlockMemory()
        content, engine = write_block(network, height, width, memory, layers=layers, **judging(card))
        (partial / "model.bin").write_bytes(gzip.compress(content, mtime=0))
        view = write_view(partial, network, card, memory) if card.contract.task == "detection" else None
        for part in (PAGE / "shared", WEB):
            shutil.copytree(part, partial / part.name, ignore=shutil.ignore_patterns(".*"))
        (partial / WEB.name / "engine.wasm").rename(partial / "engine.wasm")
        (partial / "index.html").write_text(markup(), "utf-8")
        write_facts(partial, card, name, engine, view)


def markup() -> str:
    """Return the service's page without the parts that need the service, and with what stands in for them."""
    text = (PAGE / "live" / "index.html").read_text("utf-8")
    text = re.sub(r" *<!--service-->.*?<!--/service-->\n", "", text, flags=re.DOTALL)
    return re.sub(r"<!--alone (.*?)-->", r"\1", text, flags=re.DOTALL)


def write_view(folder: Path, network: nn.Module, card: Card, memory: BlockMemory) -> dict[str, Any]:
    """Write view.bin, the network on the pyramid of the page's frames with what lies not in model.bin, and the pixels
    before which these are moved; return the facts that the page needs to find things.
    """
    pyramid = pyramid_of_frames(FRAME)
    constants = {
        "sizes": sizes_of(pyramid, len(card.labels)),
        "places": output_cells_of(pyramid),
        "levels": pyramid.table,
    }
    content, engine = write_block(network, pyramid.height, pyramid.width, memory, **constants)
    (folder / "view.bin").write_bytes(gzip.compress(content, mtime=0))
    eye = MovedFrames(pyramid.finest)
    size = {"width": eye.size.width, "height": eye.size.height}
    contract = replace(card.contract, sensor_width=size["width"], sensor_height=size["height"], filter_us=0, **size)
    return {
        "contract": asdict(contract),
        "path": eye.path.tolist(),
        "pixels": write_pixels(folder, PIXELS, eye.size),
        **engine,
    }


def write_facts(folder: Path, card: Card, name: str, engine: dict[str, Any], view: dict[str, Any] | None) -> None:
    """Write model.json, the emulator's pixels unless a view has its own, and the sample recordings."""
    contract = card.contract
    samples = [one for one in shipped_samples.listing() if set(re.split(r"\W+", one.label)) & set(card.labels)]
    (folder / "samples").mkdir()
    for sample in samples:
        (folder / "samples" / f"{sample.name}.t64").write_bytes(shipped_samples.t64_of(sample.name))
    facts: dict[str, Any] = {
        "name": name,
        "labels": card.labels,
        "contract": asdict(contract),
        "front": {"from_hz": gate_from_hz(contract), "shown": contract.shown_bins, **alignment(contract)},
        **engine,
        "view": view,
        "path": still_path() if view is None else [[0], [0]],  # frames are moved before a view's pixels
        "pixels": write_pixels(folder) if view is None else view.pop("pixels"),
        "samples": [asdict(sample) for sample in samples],
    }
    (folder / "model.json").write_text(json.dumps(facts, indent=1) + "\n")


def still_path() -> list[list[float]]:
    """Return where a picture lies that is moved by saccades, [2, ms]: x and y from the middle, in heights of a frame.

    It is the path of an MNIST image before N-MNIST's sensor, turned round: the page shows light ink on dark paper, and
    what moves light ink one way moves dark ink the other.
    """
    return np.round(((NMNIST_SENSOR.height - DIGIT_SIZE) / 2 - NMNIST.corner(1.0)) / NMNIST_SENSOR.height, 5).tolist()


def write_pixels(folder: Path, pixels: PixelModel = WHOLE, size: SensorSize = FRAME) -> dict[str, Any]:
    """Write pixels.f32, float32 [3, H, W]: ON and OFF thresholds and first references, drawn as an Emulator does.

    Return the emulator's other parameters.
    """
    made = Emulator(size, pixels)
    (folder / "pixels.f32").write_bytes(np.stack([made.on, made.off, made.start]).astype("<f4").tobytes())
    numbers = {"leakHz": pixels.leak_hz, "cutoffHz": pixels.cutoff_hz, "silentUs": pixels.refractory_us}
    return {"width": size.width, "height": size.height, "levels": log_levels(pixels.linear_below).tolist(), **numbers}
