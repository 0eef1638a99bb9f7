"""Describe the models of this installation, one record each, read from their folders."""

from pathlib import Path
from typing import Any

from spikesight.models.checkpoint import WEIGHTS, read_config, sha256_of
from spikesight.models.contract import Card
from spikesight.models.shipped import name_of


def describe(folder: Path) -> dict[str, Any]:
    """Return a checkpoint's record for JSON: task, sensor, steps, size, accuracy, calibration of "unknown".

    `bytes` and `sha256` are of the weights' file; `accuracy` in [0, 1] on `tested` samples, None if the card has none;
    `known`: what the calibration of "unknown" measured, None if not calibrated. Raises CheckpointError.
    """
    kind, config, card = read_config(folder)
    ann = kind == "spiking-resnet" and config.neuron.kind == "relu"
    accuracy, tested = _accuracy(card)
    c, events = card.contract, card.contract.kind == "events"
    sensor = f"events of a {c.sensor_width}x{c.sensor_height} sensor" if events else "images"
    return {
        "name": name_of(folder),
        "task": f"{len(card.labels)} classes from {'events' if events else 'images'}",
        "origin": "converted" if kind == "converted" else "ann" if ann else "direct",
        "classes": len(card.labels),
        "input": f"{sensor} as {c.channels}x{c.height}x{c.width}",
        "steps": f"{c.steps} of {c.bin_us / 1000:g} ms" if events else str(c.steps),
        "bytes": (folder / WEIGHTS).stat().st_size,
        "accuracy": accuracy,
        "tested": tested,
        "known": card.metrics.get("known"),
        "sha256": sha256_of(folder / WEIGHTS),
        "labels": list(card.labels),
    }


def _accuracy(card: Card) -> tuple[float | None, int | None]:
    """Return accuracy in [0, 1] and count on the test split, from the metrics of training or of conversion."""
    if "test" in card.metrics:
        return card.metrics["test"]["accuracy"], card.metrics["test"]["count"]
    if "test_images" in card.metrics:
        return card.metrics["correct"] / card.metrics["test_images"], card.metrics["test_images"]
    return None, None
