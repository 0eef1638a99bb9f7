"""`spikesight models`: list the networks that `--network` knows, and the shipped trained models."""

import argparse
import json
from pathlib import Path
from typing import Any

from spikesight.encoders.words import counted
from spikesight.models.checkpoint import WEIGHTS, read_config, sha256_of
from spikesight.models.contract import Card
from spikesight.models.shipped import name_of


def describe_shipped(folder: Path) -> dict[str, Any]:
    """Return a checkpoint's record for JSON: task, sensor, steps, size, accuracy, calibration of "unknown".

    `bytes` and `sha256` are of the weights' file; `accuracy` in [0, 1] on `tested` samples, None if the card has none;
    `in_distribution`: what the calibration of "unknown" measured, None if not calibrated. Raises CheckpointError.
    """
    kind, config, card = read_config(folder)
    ann = kind == "spiking-resnet" and config.neuron.kind == "relu"
    accuracy, tested = _accuracy(card)
    c, events = card.contract, card.contract.kind == "events"
    sensor = f"events of a {c.sensor_width}x{c.sensor_height} sensor" if events else "images"
    return {
        "name": name_of(folder),
        "task": f"{counted(len(card.labels), 'class')} from {'events' if events else 'images'}",
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


DESCRIPTION = """Two tables: networks to train, and trained models of this installation.

`train-dvs --network NAME` takes any of the networks; input channels, classes and neurons follow from the data and the
flags. The trained models are known by name to --model (serve, predict, webcam), to export, and to --init-from and
--teacher (train-dvs); --json has all that is known of them: labels, accuracy, the SHA-256 of their weights."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the tables")


def describe(name: str) -> dict[str, object]:
    """Return the row of a network: its shape, parameter count and neuron layers. No weights are allocated."""
    import torch

    from spikesight.models.networks.resnet import NETWORKS, SpikingResNet
    from spikesight.models.neurons.layers import Neuron

    config = NETWORKS[name]
    with torch.device("meta"):
        network = SpikingResNet(config)
    return {
        "name": name,
        "parameters": sum(p.numel() for p in network.parameters()),
        "neuron_layers": sum(isinstance(m, Neuron) for m in network.modules()),
        "block": config.block + (" bottleneck" if config.bottleneck else ""),
        "depths": "-".join(map(str, config.depths)),
        "widths": "-".join(map(str, config.widths)),
        "stem": f"{config.stem}, pool {config.pool}",
    }


COLUMNS = ("accuracy", "tested", "says_unknown", "sha256")


def readable(row: dict[str, Any]) -> dict[str, object]:
    """Return a shipped model's row for people: accuracy in per cent, the first digits of the SHA-256."""
    accuracy = "" if row["accuracy"] is None else f"{row['accuracy']:.2%}"
    unknown = "no" if row["known"] is None else "yes"
    return row | {"accuracy": accuracy, "says_unknown": unknown, "sha256": row["sha256"][:12]}


def print_table(rows: list[dict[str, object]], heads: tuple[str, ...]) -> None:
    """Print aligned columns."""
    table = [[f"{row[h]:,}" if isinstance(row[h], int) else str(row[h]) for h in heads] for row in rows]
    titles = [head.replace("_", " ") for head in heads]
    widths = [max(len(line[n]) for line in (titles, *table)) for n in range(len(heads))]
    for line in (titles, *table):
        print("  ".join(map(str.ljust, line, widths)).rstrip())


def run(args: argparse.Namespace) -> int:
    """Print networks and shipped models, as tables or as one JSON object; return the exit code."""
    from spikesight.models.checkpoint import load_plugins
    from spikesight.models.networks.resnet import NETWORKS
    from spikesight.models.shipped import shipped

    load_plugins()
    rows = [describe(name) for name in NETWORKS]
    trained = [describe_shipped(folder) for folder in shipped().values()]
    if args.json:
        print(json.dumps({"networks": rows, "shipped": trained}))
        return 0
    print_table(rows, ("name", "parameters", "neuron_layers", "block", "depths", "widths", "stem"))
    if trained:
        print("\nshipped, for --model:")
        print_table([readable(row) for row in trained], ("name", "task", "origin", "input", "steps", "bytes", *COLUMNS))
    return 0
