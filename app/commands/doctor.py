"""`spikesight doctor`: report what this installation has and lacks, and how to fix it."""

import argparse
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Literal, NamedTuple

from spikesight.encoders.sources.devices import plugged_in

DESCRIPTION = """\
Look at the environment and say what works, what is missing and how to mend it.

Each line is 'ok', 'note' (works, could be better) or 'FIX' (broken, and what to do). Exit code 1 for any FIX."""

CORE = ("torch", "numpy", "opencv-python-headless", "fastapi", "starlette", "uvicorn")
EXTRAS = {
    "webcam": ("pygame-ce", "the window of `spikesight webcam`"),
    "cameras": ("dv-processing", "event cameras on USB"),
    "es": ("faery", ".es recordings"),
    "datasets": ("tonic", "public event sets by name"),
    "export": ("onnx", "export to ONNX and NIR"),
    "cluster": ("ray", "the service on several machines"),
}
AFTER = {"datasets": ", then pip install --no-deps tonic"}  # of an extra that cannot name what it is for


class Finding(NamedTuple):
    """One line of the report."""

    state: Literal["ok", "note", "FIX"]
    topic: str
    text: str


def check_packages() -> Iterator[Finding]:
    """Check the versions of Python and of required packages, and which extras are installed."""
    found = [f"Python {platform.python_version()} on {platform.machine()}"]
    for name in CORE:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            yield Finding("FIX", "packages", f"{name} is missing: pip install spikesight again")
    yield Finding("ok", "packages", ", ".join(found))
    for extra, (name, purpose) in EXTRAS.items():
        how = f"pip install 'spikesight[{extra}]'{AFTER.get(extra, '')}"
        try:
            yield Finding("ok", f"[{extra}]", f"{name} {version(name)}: {purpose}")
        except PackageNotFoundError:
            yield Finding("note", f"[{extra}]", f"not installed ({purpose}): {how}")


def check_machine() -> Iterator[Finding]:
    """Check threads, the native engine, the GPU, and event cameras on USB."""
    import torch

    from spikesight.models.engine.engine import engine_status
    from spikesight.models.native.threads import threads

    yield Finding("ok", "threads", f"{torch.get_num_threads()} for training, {threads()} for a step (--threads)")
    status = engine_status()
    yield Finding("note" if "none" in status else "ok", "engine", status)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none; training and serving run on the CPU"
    yield Finding("ok", "gpu", gpu)
    found, remarks = plugged_in()
    yield Finding("note" if remarks else "ok", "cameras", "; ".join([*(camera.name for camera in found), *remarks]))


def check_models() -> Iterator[Finding]:
    """Check that the shipped models can be loaded."""
    from spikesight.models.checkpoint import load
    from spikesight.models.contract import CheckpointError
    from spikesight.models.engine.engine import why_not
    from spikesight.models.shipped import shipped

    found = shipped()
    if not found:
        yield Finding("FIX", "models", "none is shipped with this installation: train one with train-dvs")
    for name, folder in found.items():
        try:
            reason = why_not(load(folder)[0])
        except CheckpointError as error:
            yield Finding("FIX", "models", f"{name}: {error}")
        else:
            yield Finding("ok", "models", f"{name} runs on {f'PyTorch ({reason})' if reason else 'the engine'}")


CHECKS = check_packages, check_machine, check_models


def configure(_: argparse.ArgumentParser) -> None:
    """There are no flags."""


def run(_: argparse.Namespace) -> int:
    findings = [finding for check in CHECKS for finding in check()]
    for f in findings:
        print(f"{f.state:4}  {f.topic:10} {f.text}")
    broken = sum(f.state == "FIX" for f in findings)
    print("nothing to mend" if not broken else f"{broken} to mend")
    return 1 if broken else 0
