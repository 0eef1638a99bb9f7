"""Export a network as a folder of standalone C (`c_source`), compiled and compared with the network first."""

import os
import shutil
import subprocess
import sys
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikesight.encoders.binning import CEILINGS
from spikesight.encoders.native.build import build
from spikesight.encoders.preprocess.crop import TrackingBinner, fine_size
from spikesight.encoders.preprocess.filters import DRAWING_HZ, FROM_HZ
from spikesight.encoders.pyramid import LEAST_SIDE
from spikesight.encoders.words import counted
from spikesight.models.classifier.inputs import sensor_of
from spikesight.models.contract import Card, Contract
from spikesight.models.engine.engine import Engine, can_run
from spikesight.models.export.c_source import as_bytes, write_source
from spikesight.models.export.parity import PARITY_STEPS, TOLERANCE, ExportError, example_inputs, new_folder
from spikesight.models.networks.folding import fold, norm_line

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-fno-math-errno")  # as in the Makefile


def c_compiler() -> list[str]:
    """Return the command of a C compiler: `CC`, else the system's, else the package ziglang's; [] if there is none."""
    names = [os.environ["CC"]] if os.environ.get("CC") else ["cc", "gcc", "clang"]
    if path := next((path for name in names if (path := shutil.which(name))), None):
        return [path]
    return [sys.executable, "-m", "ziglang", "cc"] if find_spec("ziglang") and not os.environ.get("CC") else []


def rounding_flags() -> tuple[str, ...]:
    """Return the compiler flags by which the C code rounds as the kernels on this machine do."""
    return ("-DSPIKESIGHT_FUSED=0",) if build().isa == "portable" else ()


def compile_c(folder: Path, compiler: list[str], *flags: str) -> Path:
    """Compile the folder's example; return the program's path. Raises ExportError with the compiler's message."""
    program, sources = folder / "example", [str(folder / name) for name in ("example.c", "spikesight.c", "model.c")]
    done = subprocess.run(
        [*compiler, *STRICT, *flags, *sources, "-lm", "-o", str(program)], capture_output=True, text=True
    )
    if done.returncode:
        raise ExportError(f"the C compiler failed: {done.stderr.strip()[:300]}")
    return program


def run_steps(command: list[str], x_seq: Tensor) -> NDArray[np.float32]:
    """Return the logits [T, K] that a compiled example prints for inputs [T, C, H, W], uint8 or float32."""
    given = x_seq.permute(0, 2, 3, 1).contiguous().numpy().tobytes()
    done = subprocess.run([*command, "steps"], input=given, capture_output=True, check=True)
    lines = done.stdout.decode().splitlines()
    return np.array([[np.float32(word) for word in line.split("\t")[5:]] for line in lines], np.float32)


@torch.inference_mode()
def logits_in_python(network: nn.Module, x_seq: Tensor) -> NDArray[np.float32]:
    """Return the logits [T, K] of inputs [T, 1, C, H, W]; by the engine where possible, then bit for bit as in C."""
    if can_run(network):
        return Engine(network, *x_seq.shape[3:], choice="events").run(x_seq).logits[:, 0].numpy()
    return network(x_seq.float(), None)[0][:, 0].numpy()


def with_rounded_weights(network: nn.Module) -> nn.Module:
    """Return a copy of the network with the weights that `--int8` writes."""
    twin = deepcopy(network)
    for layer in twin.modules():
        if isinstance(layer, nn.Sequential) and isinstance(layer[0], nn.Conv2d):
            weight, _, conv = fold(layer)
            near = torch.from_numpy(as_bytes(weight.numpy(), (1, 2, 3))[2])
            gain = norm_line(norm)[0] if isinstance(norm := layer[1], nn.BatchNorm2d) else torch.ones(len(weight))
            conv.weight.data = (near / gain.view(-1, 1, 1, 1)).float()
    return twin


def preprocessing(contract: Contract) -> dict[str, float]:
    """Return the parameters of an event network's preprocessing, by name. Raises ExportError if C lacks it."""
    if contract.kind != "events":
        return {}
    drawing = contract.task == "detection"
    if drawing and min(contract.sensor_width, contract.sensor_height) >= LEAST_SIDE:
        raise ExportError("not exported: a detector of a large sensor's full frame is not in C")
    if contract.pooled:
        raise ExportError("not exported: a finer sensor's events are not summed in C")
    grid, crop = (contract.height, contract.width), alignment(contract)
    if crop:
        grid = fine_size(sensor_of(contract))
    more = {"ceiling": CEILINGS[contract.encoding], "filter_from_hz": gate_from_hz(contract)}
    return {**more, "follows": int(bool(crop)), "grid_height": grid[0], "grid_width": grid[1], **crop}


def gate_from_hz(contract: Contract) -> float:
    """Return the rate of isolated events (Hz a pixel) from which noise is filtered, for a sensor without a window."""
    return DRAWING_HZ if contract.task == "detection" else FROM_HZ


def alignment_binner(contract: Contract) -> TrackingBinner:
    """Return the binner that aligns the input of a network on moving objects."""
    size = contract.height, contract.width
    return TrackingBinner(sensor_of(contract), size, contract.bin_us, contract.steps, contract.shown_bins)


def alignment(contract: Contract) -> dict[str, float]:
    """Return the parameters of the alignment on moving objects, by name; {} for networks without alignment."""
    if contract.frame != "object":
        return {}
    binner = alignment_binner(contract)
    return {"kept": binner.keep, "share": binner.share}


def export_c(network: nn.Module, card: Card, name: str, folder: Path, *, int8: bool = False) -> str:
    """Write the folder, which must be new or empty; return a sentence on how its output compares with the network's.

    With rounded weights (`int8`) a neuron near its threshold may fire on one side only, so up to half of the steps may
    differ. Raises ExportError; nothing is written then.
    """
    with new_folder(folder) as partial:
        write_source(partial, network, card, name, preprocessing(card.contract), int8=int8)
        said = "not compared with the network, for there is no C compiler here"
        if compiler := c_compiler():
            x_seq = example_inputs(card.contract, PARITY_STEPS, 1)
            x_seq = x_seq.to(torch.uint8) if card.contract.kind == "events" else x_seq
            program = compile_c(partial, compiler, "-O2", *rounding_flags())
            found = run_steps([str(program)], x_seq[:, 0])
            program.unlink()
            gaps = np.abs(found - logits_in_python(with_rounded_weights(network) if int8 else network, x_seq)).max(1)
            same = int(np.count_nonzero(gaps < TOLERANCE))
            if same < (len(gaps) / 2 if int8 else len(gaps)):
                steps = counted(len(gaps) - same, "step")
                raise ExportError(f"not exported: the logits of the C program differ in {steps}")
            of = "the network with weights so rounded" if int8 else "the network"
            said = f"the logits of {same} of {len(gaps)} steps are those of {of}"
    return said
