"""A camera's settings, stored beside recordings (`walk.raw.camera.json` for `walk.raw`), and their comparison.

`spikesight record` writes the file; `transcode` copies it. For other recordings the biases are read from the
file that Metavision Studio writes beside them (`walk.bias` for `walk.raw`).
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spikesight.encoders.recordings.format import topic_of
from spikesight.encoders.sources.address import SourceError

SUFFIX = ".camera.json"
LINE = re.compile(r"\s*(-?\d{1,9})\s*%\s*(?:bias_)?(\w+)\s*")  # a line of a bias file: value, then name
LARGEST = 1 << 16  # most bytes of a settings file that is read
Settings = Mapping[str, Any]
"""`camera`, `serial`, `lens` and others by name; `biases` holds a mapping by bias name."""


def settings_path(recording: Path) -> Path:
    """Return the path of a recording's settings."""
    return recording.with_name(recording.name + SUFFIX)


def is_beside(path: Path) -> bool:
    """Return whether a file holds a camera's settings, judged by its name."""
    return path.name.endswith(SUFFIX) or path.suffix == ".bias"


def biases_in(path: Path) -> dict[str, int]:
    """Return the biases of a file in the format of Metavision Studio, by name. Raises SourceError."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, ValueError):
        raise SourceError(f"the biases' file {path} cannot be read") from None
    matches = [LINE.fullmatch(line) for line in lines if line.strip()]
    if not all(matches):
        raise SourceError(f"{path} is no file of biases: its lines are VALUE % bias_NAME")
    return {match[2]: int(match[1]) for match in matches if match}


def write_settings(recording: Path, settings: Settings) -> None:
    """Write the settings of a recording, all or nothing."""
    path = settings_path(recording)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(settings, indent=1) + "\n")
    partial.replace(path)


def copy_settings(recording: Path, to: Path) -> None:
    """Copy the settings of a recording to those of `to`, which was made from it; old settings of `to` are removed."""
    if known := settings_of(recording):
        write_settings(to, known)
    else:
        settings_path(to).unlink(missing_ok=True)


def settings_of(recording: Path) -> dict[str, Any]:
    """Return the settings of a recording, or of the bag of a topic; {} if the file is missing or unreadable."""
    try:
        recording, _ = topic_of(recording)
        path, biases = settings_path(recording), recording.with_suffix(".bias")
        if path.is_file() and path.stat().st_size <= LARGEST:
            found = json.loads(path.read_text())
            return found if isinstance(found, dict) else {}
        if biases.is_file() and biases.stat().st_size <= LARGEST:
            return {"biases": biases_in(biases)}
    except (OSError, ValueError, RecursionError, SourceError):
        pass
    return {}


def common(recordings: Iterable[Path]) -> dict[str, Any]:
    """Return the settings that all recordings share."""
    return shared(map(settings_of, recordings))


def shared(cameras: Iterable[Settings]) -> dict[str, Any]:
    """Return the settings that all cameras share."""
    kept: dict[str, Any] | None = None
    for found in cameras:
        kept = dict(found) if kept is None else {name: v for name, v in kept.items() if found.get(name) == v}
        if not kept:
            break
    return kept or {}


def differs(learnt: Settings, seen: Settings) -> str | None:
    """Say how a camera's settings differ from those a model learnt from; None if no difference is known."""
    if not (isinstance(learnt, Mapping) and isinstance(seen, Mapping)):  # a card may hold anything
        return None
    parts = [
        f"{name} {seen[name]} in place of {learnt[name]}"
        for name in ("camera", "serial", "lens")
        if name in learnt and name in seen and learnt[name] != seen[name]
    ]
    before, now = (some if isinstance(some := of.get("biases"), Mapping) else {} for of in (learnt, seen))
    parts += [f"bias {n} {now[n]} in place of {before[n]}" for n in sorted(before) if n in now and now[n] != before[n]]
    return f"another camera, or other settings, than this model learnt from: {', '.join(parts)}" if parts else None
