"""`spikesight export`: a checkpoint as a file for other runtimes, compared with the network before it is written."""

import argparse
from pathlib import Path

from models.checkpoint import load
from models.export import FORMATS, export

DESCRIPTION = """Write a checkpoint for another runtime.

onnx and torch hold one step: inputs x and the membranes (state.NAME, zeros before the first step), outputs the logits
and the membranes after it. Before the file appears it runs 50 steps beside the network, carrying its own membranes.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="the folder of a checkpoint")
    parser.add_argument("--format", choices=sorted(FORMATS), default="onnx")
    parser.add_argument("--out", type=Path, help="the file (default: the checkpoint's name, here)")
    parser.add_argument("--window", type=int, help="a form of that many steps at once instead of one step")


def run(args: argparse.Namespace) -> int:
    if args.window is not None and not 1 <= args.window <= 1000:
        raise ValueError("--window must lie in 1 to 1000")
    network, card = load(args.checkpoint)
    out = args.out or Path(args.checkpoint.resolve().name + FORMATS[args.format][2])
    parity = export(network, card, args.format, out, window=args.window)
    print(
        f"{out}: {out.stat().st_size / 1e6:.1f} MB; over {parity.steps} steps the logits differ by at most "
        f"{parity.logits:.1e}, {parity.ties} of {parity.membranes} membranes by a threshold tie"
    )
    return 0
