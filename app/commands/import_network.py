"""`spikesight import`: import another library's network as a checkpoint, compared with the original step by step."""

import argparse
from dataclasses import replace
from pathlib import Path

from spikesight.app.commands.convert import read_labels
from spikesight.models.checkpoint import read_config, save
from spikesight.models.contract import Card
from spikesight.models.export.importing import import_network
from spikesight.models.shipped import DEFAULT_MODEL, find

DESCRIPTION = """Make a checkpoint of a spiking network that another library trained.

  spikesight import net.nir --to models/mine --like nmnist --labels left,right --dt 0.0001
  spikesight import net.pt --to models/mine --like models/gestures
  spikesight import 'sew18.pth#sew_resnet18?cnf=ADD&neuron=LIFNode&tau=2' --to models/mine --like models/gestures

.nir is a graph of convolutions, linear layers, pools, sums, LIF and IF, as SpikingJelly (nir_exchange.export_to_nir),
snnTorch (export_nir) and others write it; a state dictionary (.pt, .pth, .safetensors) is a chain of linear layers and
snnTorch's Leaky, or one of SpikingJelly's spiking_resnet and sew_resnet (18 to 152), named behind a # with its neurons:
IFNode, LIFNode, ParametricLIFNode, tau, v_threshold, v_reset, decay_input. What has no exact counterpart is refused by
its layer's name. The new network runs 50 steps beside the old one; where the two differ, nothing is written. Nothing in
a file is executed. Needs the extra: pip install 'spikesight[export]'; spikingjelly or snntorch for their weights.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags: what to import, where to, and what input the network takes."""
    add = parser.add_argument
    add("source", type=Path, metavar="FILE", help="a NIR graph or a state dictionary")
    add("--to", type=Path, required=True, help="folder of the new checkpoint")
    add(
        "--like",
        default=DEFAULT_MODEL,
        metavar="MODEL",
        help="a model that is fed as this one was: sensor, bins, steps",
    )
    add("--labels", help="class names: a file with one a line, or a,b,c (default: those of --like, or numbers)")
    add("--dt", type=float, metavar="S", help="seconds a step, of a NIR graph that does not say it")


def run(args: argparse.Namespace) -> int:
    """Import, compare and write the checkpoint; return the exit code."""
    card = read_config(find(args.like))[2]
    contract = replace(card.contract, shortest_bin_us=0, readout=0)
    network, parity = import_network(args.source, contract, args.dt)
    labels = read_labels(args.labels, network.config.classes, card.labels)
    for node in network.config.nodes[1:]:
        print(f"  {node.op:8} {node.title}")
    training = {"origin": "import", "weights": args.source.resolve().name.partition("#")[0]}
    save(args.to, network, Card(contract, labels, training, {}))
    print(f"wrote {args.to}: {parity}")
    return 0
