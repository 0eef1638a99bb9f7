"""`spikesight cameras`: list the cameras that are plugged in, and the source string that opens each."""

import argparse
import json

from spikesight.encoders.sources.devices import plugged_in

DESCRIPTION = """List event cameras on USB and webcams, each with the source's string for --camera, webcam --source and
record. Cameras on the network are not looked for. Exit code 1 where there is none."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")


def run(args: argparse.Namespace) -> int:
    """Print the cameras and the drivers' remarks; return 1 if there are no cameras."""
    found, remarks = plugged_in()
    if args.json:
        print(json.dumps({"cameras": [camera._asdict() for camera in found], "remarks": remarks}))
    else:
        for camera in found:
            print(f"{camera.source:24} {camera.name} ({camera.driver})")
        for remark in remarks:
            print(f"note: {remark}")
    return 0 if found else 1
