"""Time to read events from robot bags (ROS 2, MCAP), against only extracting the packets without decoding events.

    python -m benchmarks.bags [--rounds 7]

One thread, the process's CPU clock, files of ../shared/data/bags (or SPIKESIGHT_DATA); ratios as in events.py.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.common import report
from benchmarks.events import DATA, Variant, compare, ours
from spikesight.encoders.recordings.files import read_recording

BAGS = ("ros2_evt3_640x480.db3", "ros2_libcaer_640x480.db3", "ros2_evt3.mcap")


def packets(path: Path) -> Variant:
    """Return the variant that only extracts the messages of a bag, as bytes."""
    if path.suffix == ".mcap":
        return "packets alone, by mcap", lambda: mcap_packets(path)
    return "packets alone, by sqlite3", lambda: sqlite_packets(path)


def sqlite_packets(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT data FROM messages").fetchall()


def mcap_packets(path: Path) -> list[bytes]:
    from mcap.reader import make_reader

    with path.open("rb") as file:
        return [message.data for _, _, message in make_reader(file).iter_messages()]


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    for path in (DATA / "bags" / name for name in BAGS):
        count = len(read_recording(path).events)
        compare(f"read {path.name}, {count:,} events", "Mev/s", count / 1e6, [ours(path), packets(path)], args.rounds)
    report.write("bags", args.json)


if __name__ == "__main__":
    main()
