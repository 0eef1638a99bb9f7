"""Count how often the test split of a named set is read."""

import json
from contextlib import suppress
from datetime import date
from pathlib import Path

from spikesight.training.data.load import DATA_NAMES
from spikesight.training.data.recordings import recorded

READS = "reads.jsonl"  # in the data folder: one line for each time that a test split is read


def count_read(root: Path, name: str, by: str) -> int | None:
    """Record in `root` that `by` reads a set's test split; return how often it was read (None: cannot be recorded)."""
    line = json.dumps({"set": name, "by": by, "date": date.today().isoformat()}) + "\n"
    try:
        with (root / READS).open("a") as file:
            file.write(line)
        lines = (root / READS).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    found = 0
    for one in lines:
        with suppress(ValueError, TypeError, KeyError):  # a line in another form
            found += json.loads(one)["set"] == name
    return found


def count_named_read(root: Path, data: str, by: str) -> int | None:
    """Call `count_read` if `data` is a set's name; return None for a folder."""
    return count_read(root, data, by) if data in DATA_NAMES or data in recorded() else None
