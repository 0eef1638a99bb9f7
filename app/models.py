"""`spikesight models`: the networks that `--network` knows, and the trained models that are shipped."""

import argparse
import json
from dataclasses import asdict

DESCRIPTION = """The networks by name, with their parameters and neuron layers.

`train-dvs --network NAME` takes any of them; input channels, classes and neurons follow from the data and the flags."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")


def describe(name: str) -> dict[str, object]:
    """One row: the shape by name, its parameter count and neuron layers; no weights are made."""
    import torch

    from models.neurons import Neuron
    from models.resnet import NETWORKS, SpikingResNet

    config = NETWORKS[name]
    with torch.device("meta"):
        network = SpikingResNet(config)
    shape = asdict(config)
    return {
        "name": name,
        "parameters": sum(p.numel() for p in network.parameters()),
        "neuron_layers": sum(isinstance(m, Neuron) for m in network.modules()),
        "block": config.block + (" bottleneck" if config.bottleneck else ""),
        "depths": "-".join(map(str, config.depths)),
        "widths": "-".join(map(str, config.widths)),
        "stem": f"{config.stem}, pool {config.pool}",
        **{key: shape[key] for key in ("in_channels", "classes")},
    }


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    from models.resnet import NETWORKS

    rows = [describe(name) for name in NETWORKS]
    if args.json:
        print(json.dumps({"networks": rows}))
        return 0
    heads = ("name", "parameters", "neuron_layers", "block", "depths", "widths", "stem")
    table = [
        [f"{int(str(row[h])):,}" if h == "parameters" else str(row[h]) for h in heads] for row in rows
    ]  # fmt: skip
    titles = [head.replace("_", " ") for head in heads]
    widths = [max(len(line[n]) for line in (titles, *table)) for n in range(len(heads))]
    for line in (titles, *table):
        cells = (cell.rjust(w) if n in (1, 2) else cell.ljust(w) for n, (cell, w) in enumerate(zip(line, widths)))
        print("  ".join(cells).rstrip())
    return 0
