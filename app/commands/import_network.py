"""`spikesight import`: import another library's network from NIR as a checkpoint, compared with its graph."""

import argparse
from dataclasses import replace
from pathlib import Path

from spikesight.app.commands.convert import read_labels
from spikesight.models.checkpoint import read_config, save
from spikesight.models.contract import Card
from spikesight.models.export.nir import import_network
from spikesight.models.shipped import DEFAULT_MODEL, find

DESCRIPTION = """Make a checkpoint of a spiking network that another library trained.

  spikesight import net.nir --to models/mine --like nmnist --labels left,right --dt 0.0001

The file is a NIR graph of convolutions, linear layers, average pools, sums, LIF and IF, as SpikingJelly
(activation_based.nir_exchange.export_to_nir), snnTorch (export_nir.export_to_nir) and others write it. What has no
exact counterpart is refused by its layer's name. The new network runs 50 steps beside the graph, which nirtorch runs;
where the two differ, nothing is written. Nothing in a file is executed. Needs the extra: pip install
'spikesight[export]'.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags: what to import, where to, and what input the network takes."""
    add = parser.add_argument
    add("source", type=Path, metavar="FILE", help="a NIR graph")
    add("--to", type=Path, required=True, help="folder of the new checkpoint")
    add(
        "--like",
        default=DEFAULT_MODEL,
        metavar="MODEL",
        help="a model that is fed as this one was: sensor, bins, steps",
    )
    add("--labels", help="class names: a file with one a line, or a,b,c (default: those of --like, or numbers)")
    add("--dt", type=float, metavar="S", help="seconds a step, of a graph that does not say it")


def run(args: argparse.Namespace) -> int:
    """Import, compare and write the checkpoint; return the exit code."""
    card = read_config(find(args.like))[2]
    contract = replace(card.contract, shortest_bin_us=0, readout=0, task="classification")
    network, said = import_network(args.source, contract, args.dt)
    labels = read_labels(args.labels, network.config.classes, card.labels)
    for node in network.config.nodes[1:]:
        print(f"  {node.op:8} {node.title}")
    training = {"origin": "import", "weights": args.source.resolve().name}
    save(args.to, network, Card(contract, labels, training, {}))
    print(f"wrote {args.to}: {said}")
    return 0
