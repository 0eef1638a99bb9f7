"""Draw the recordings that the shipped `motions` learnt from: nine motions, 800 ms each, by the emulated camera.

python -m corpora.draw_motions drawn FOLDER --count 700
python -m corpora.draw_motions filmed FOLDER --count 700         as a webcam films them: texture, noise, shake
"""

import argparse
from pathlib import Path

from corpora.drawn import MOTIONS, SENSOR, motion_recording
from corpora.filmed import filmed_recording
from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import write_recording

KINDS = {"drawn": ("", motion_recording), "filmed": ("filmed-", filmed_recording)}
"""The prefix of the files' names, so that a folder can hold both, and the function that draws one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("target", type=Path, metavar="FOLDER", help="of <motion>/<seed>.npz")
    parser.add_argument("--count", type=int, default=100, help="of each motion (100)")
    parser.add_argument("--seed", type=int, default=0, help="of the first (0)")
    parser.add_argument("--size", type=SensorSize.parse, metavar="WxH", default=SENSOR, help=f"sensor ({SENSOR})")
    args = parser.parse_args()
    prefix, recording = KINDS[args.kind]
    for motion in MOTIONS:
        (args.target / motion).mkdir(parents=True, exist_ok=True)
        for seed in range(args.seed, args.seed + args.count):
            events = recording(motion, args.size, seed=seed)
            if len(events):  # a still scene may give none
                write_recording(args.target / motion / f"{prefix}{seed:05d}.npz", events, args.size)


if __name__ == "__main__":
    main()
