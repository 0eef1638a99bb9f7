"""`spikesight export`: a checkpoint as a file for other runtimes, compared with the network before it is written."""

import argparse
from pathlib import Path

from models.checkpoint import load
from models.export.formats import FORMATS, export
from models.export.parity import Parity
from models.shipped import find

DESCRIPTION = """Write a checkpoint for another runtime.

onnx and torch hold one step: inputs x and the membranes (state.NAME, zeros before the first step), outputs the logits
and the membranes after it. nir is a graph in the neuromorphic intermediate representation. Before the file appears it
runs 50 steps beside the network, carrying its own membranes. --web writes a folder that classifies in the browser, with
no server but a static one.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="the folder of a checkpoint, or a shipped model's name")
    parser.add_argument("--format", choices=sorted(FORMATS), default="onnx")
    parser.add_argument("--out", type=Path, help="the file (default: the checkpoint's name, here)")
    parser.add_argument("--window", type=int, help="onnx, torch: a form of that many steps at once instead of one step")
    parser.add_argument(
        "--web", type=Path, metavar="DIR", help="write a new folder with a page and all it needs instead of one file"
    )


def run(args: argparse.Namespace) -> int:
    if args.window is not None and not 1 <= args.window <= 1000:
        raise ValueError("--window must lie in 1 to 1000")
    if args.web is not None and (args.window is not None or args.out is not None or args.format != "onnx"):
        raise ValueError("--web goes without --format, --out and --window: the folder's network is one step in ONNX")
    folder = find(args.checkpoint)
    network, card = load(folder)
    name = folder.resolve().name
    if args.web is not None:
        from service.page.standalone import write_folder  # the service's page is not needed for a file

        print(said(args.web, write_folder(args.web, network, card, name)))
        print(f"try it: python -m http.server --directory {args.web} 8080, then open http://localhost:8080")
        return 0
    out = args.out or Path(name + FORMATS[args.format].ending)
    print(said(out, export(network, card, args.format, out, window=args.window)))
    return 0


def said(path: Path, parity: Parity) -> str:
    """What was written and what its comparison saw."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files) / 1e6
    return (
        f"{path}: {size:.1f} MB; over {parity.steps} steps the logits differ by at most {parity.logits:.1e}, "
        f"{parity.ties} of {parity.membranes} membranes by a threshold tie"
    )
