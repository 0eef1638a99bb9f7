"""Results of long jobs on disk: what is there is not done again."""

import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from spikesight.training.compare.results import Result
from spikesight.training.run.report import write_whole

VERSION = 2  # of the results on disk

Say = Callable[[str], None]
R = TypeVar("R", bound=Result)


def say(text: str) -> None:
    """Progress on stderr, apart from results."""
    print(text, file=sys.stderr)


def digest(key: Any) -> str:
    """Twelve hexadecimal digits of what JSON can hold."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]


class Store:
    """Results of jobs as JSON files, by name and by the hash of what decides them."""

    def __init__(self, folder: Path, report: Say = say) -> None:
        self.folder, self.say = folder / "results", report
        self.folder.mkdir(parents=True, exist_ok=True)

    def get(self, kind: type[R], name: str, key: dict[str, Any], job: Callable[[], R]) -> R:
        """The stored result of this kind, or the job's, stored."""
        path = self.folder / f"{name.replace('/', '-')}-{digest([VERSION, name, key])}.json"
        if path.is_file():
            self.say(f"{name}: kept")
            return kind.from_json(json.loads(path.read_text()))
        self.say(f"{name} ...")
        begin = time.monotonic()
        result = job()
        result = result.stored(name, time.monotonic() - begin)
        write_whole(path, json.dumps(result.to_json()) + "\n")
        self.say(f"{name}: {result.summary} ({result.seconds:.0f} s)")
        return result
