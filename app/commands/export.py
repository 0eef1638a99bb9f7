"""`spikesight export`: export a checkpoint for other runtimes, after comparing the exported file with the network."""

import argparse
from pathlib import Path

from spikesight.models.checkpoint import load
from spikesight.models.export.formats import export
from spikesight.models.neurons.layers import at_pace
from spikesight.models.shipped import find, name_of

DESCRIPTION = """Write a checkpoint for another runtime.

onnx holds one step: inputs x and the membranes (state.NAME, zeros before the first step), outputs the logits and the
membranes after it (after.NAME). nir is a graph in the neuromorphic intermediate representation. c is a folder of C99
without a dependency, from events to labels, for a Raspberry Pi or a microcontroller. --web writes a folder that
classifies in the browser, with no server but a static one.
Before a file appears it is read again and runs 50 steps beside the network, carrying its own membranes; where the two
differ, nothing is written. onnx and nir need the extra: pip install 'spikesight[export]'.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("checkpoint", help="the folder of a checkpoint, or the name of a shipped model (see `spikesight models`)")
    add("--format", choices=("c", "nir", "onnx"), default="onnx", help="of the file (default onnx)")
    add("--out", type=Path, help="the file, or for c the new folder (default: the model's name, in this folder)")
    add("--int8", action="store_true", help="c: weights of eight bits, by channel, in a quarter of the memory")
    add("--bin-ms", type=float, metavar="B", help="length of a step, in the model's range")
    add("--web", type=Path, metavar="DIR", help="write a new folder with a page and all it needs instead of one file")


def run(args: argparse.Namespace) -> int:
    if args.web is not None and (args.out is not None or args.format != "onnx"):
        raise ValueError("--web goes without --format and --out")
    if args.int8 and (args.format != "c" or args.web is not None):
        raise ValueError("--int8 is for --format c")
    folder = find(args.checkpoint)
    network, card = load(folder)
    name = name_of(folder)
    if args.bin_ms is not None:
        card = card.at(args.bin_ms)
        if card.contract.span < 1:
            network = at_pace(network, card.contract.span)
    if args.web is not None:
        from spikesight.app.standalone import write_folder

        write_folder(args.web, network, card, name)
        print(f"{args.web}: {size_of(args.web):.1f} MB")
        print(f"try it: python -m http.server --directory {args.web} 8080, then open http://localhost:8080")
        return 0
    if args.format == "c":
        from spikesight.app.c_folder import export_c

        out = args.out or Path(name)
        print(f"{out}: {export_c(network, card, name, out, int8=args.int8)}")
        print(f"try it: make -C {out} && {out}/example")
        return 0
    out = args.out or Path(f"{name}.{args.format}")
    if out.suffix != f".{args.format}":
        raise ValueError(f"--out of --format {args.format} must end in .{args.format}")
    said = export(network, card, out)
    print(f"{out}: {size_of(out):.1f} MB; {said}")
    return 0


def size_of(path: Path) -> float:
    """Return the size of a file, or of all files in a folder, in MB."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6
