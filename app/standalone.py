"""A folder that classifies in the browser, with no server of ours: any static host can serve it.

It holds the page, the network as an ONNX step model, ONNX Runtime Web, the emulator in JavaScript with the very pixels
of this installation's one, and the sample recordings that the network has labels for.
"""

import hashlib
import json
import lzma
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from spikesight.encoders.emulator.pixels import PixelModel, log_levels, thresholds
from spikesight.encoders.events import SensorSize
from spikesight.encoders.sources import samples as shipped_samples
from spikesight.models.contract import Card
from spikesight.models.export.formats import export
from spikesight.models.export.parity import ExportError, Parity, new_folder, start_state
from spikesight.models.networks.metering import RASTER_ROWS_A_LAYER
from spikesight.models.neurons.layers import Neuron
from spikesight.models.neurons.state import State
from spikesight.models.novelty import KEPT
from spikesight.models.steps import FIRST, LEAST_INERTIA, LEAST_SHARE, LULL, MARGIN, OTHER
from spikesight.service.page.routes import PAGE

RUNTIME = {
    "ort.js": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
"""ONNX Runtime Web's files and their SHA-256; the second lies compressed in offline/vendor."""
FRAME = SensorSize(320, 240)  # what the page brings every picture to


def write_folder(folder: Path | str, network: nn.Module, card: Card, name: str) -> Parity:
    """Write the folder, which must be new or empty; what the exported network's comparison saw.

    Raises ExportError; nothing is written then.
    """
    folder = Path(folder)
    if card.contract.kind != "events":
        raise ExportError("the browser version emulates an event camera, so it needs a model that takes events")
    with new_folder(folder) as partial:
        parity = export(network, card, "onnx", partial / "model.onnx")
        copy_page(partial)
        write_facts(partial, network, card, name)
    return parity


def copy_page(folder: Path) -> None:
    """The page's files and the runtime. Raises ExportError for a runtime that is not the one it should be."""
    for name in ("shared", "offline"):
        shutil.copytree(PAGE / name, folder / name, ignore=shutil.ignore_patterns(".*", "vendor"))
    (folder / "offline" / "index.html").rename(folder / "index.html")
    source, vendor = PAGE / "offline" / "vendor", folder / "offline" / "vendor"
    shutil.copyfile(source / "LICENSE", folder / "LICENSE-onnxruntime.txt")
    vendor.mkdir()
    compiled = lzma.decompress((source / "ort.wasm.xz").read_bytes())
    for name, content in {"ort.js": (source / "ort.js").read_bytes(), "ort.wasm": compiled}.items():
        if hashlib.sha256(content).hexdigest() != RUNTIME[name]:
            raise ExportError(f"{name} of ONNX Runtime Web is damaged: install Spikesight again")
        (vendor / name).write_bytes(content)


def write_facts(folder: Path, network: nn.Module, card: Card, name: str) -> None:
    """model.json, pixels.f32 (float32 [3, H, W]: ON and OFF thresholds, first references) and the recordings."""
    pixels = PixelModel()
    (folder / "pixels.f32").write_bytes(pixel_maps(pixels).astype("<f4").tobytes())
    samples = [one for one in shipped_samples.listing() if set(re.split(r"\W+", one.label)) & set(card.labels)]
    (folder / "samples").mkdir()
    for sample in samples:
        (folder / "samples" / f"{sample.name}.t64").write_bytes(shipped_samples.t64_of(sample.name))
    state = start_state(network, card.contract, 1)
    evidence = {"first": FIRST, "other": OTHER, "least": LEAST_SHARE, "lull": LULL, "margin": MARGIN}
    facts: dict[str, Any] = {
        "name": name,
        "labels": card.labels,
        "contract": asdict(card.contract),
        "known": card.novelty and card.novelty.facts(),
        "steady": {**evidence, "inertia": max(card.contract.horizon, LEAST_INERTIA), "kept": KEPT},
        "raster": raster_of(network, state),
        "state": {key: list(tensor.shape[1:]) for key, tensor in state.items()},
        "pixels": {
            "width": FRAME.width,
            "height": FRAME.height,
            "levels": log_levels(pixels.linear_below).tolist(),
            "leak_hz": pixels.leak_hz,
        },
        "samples": [asdict(sample) for sample in samples],
    }
    (folder / "model.json").write_text(json.dumps(facts, indent=1) + "\n")


def raster_of(network: nn.Module, state: State) -> list[dict[str, Any]]:
    """Which neurons the spike raster shows, layer by layer: a spike is a membrane above `theta` after the step. Only of
    neurons that are reset one step later (`delay`), for of others the membrane does not tell.
    """
    layers = [(name, layer) for name, layer in network.named_modules() if type(layer) is Neuron and layer.config.delay]
    shown = []
    for name, layer in layers:
        total = state[layer.key][0].numel()
        rows = min(RASTER_ROWS_A_LAYER, total)
        picked = [row * total // rows for row in range(rows)]
        threshold = {"theta": layer.config.theta, "inclusive": layer.config.inclusive}
        shown.append({"name": name, "key": layer.key, **threshold, "rows": picked})
    return shown


def pixel_maps(pixels: PixelModel) -> np.ndarray:
    """float32 [3, H, W]: the thresholds and first references that an Emulator of this size draws, in its order."""
    generator, shape = np.random.default_rng(0), (FRAME.height, FRAME.width)
    on = thresholds(pixels.threshold_on, pixels.sigma, shape, generator)
    off = thresholds(pixels.threshold_off, pixels.sigma, shape, generator)
    start = generator.uniform(-0.5, 0.5, shape) * np.minimum(on, off)
    return np.stack([on, off, start.astype(np.float32)])
