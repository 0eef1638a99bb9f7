"""Find the recordings of a user's folder, with the class, session and part of each, from their names.

Three layouts, each also below train/ with test/ or val/:

    classes    <class>/<file>, <class>/<session>/<file>
    sessions   <session>/<class>.<suffix>, <session>/<class>-1.<suffix>, <session>/<class>/<file>
    flat       <class>.<suffix>, <class>-1.<suffix>, <class>_day2.<suffix>
"""

import re
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal, cast, get_args

from spikesight.encoders.recordings.files import detect_format, formats
from spikesight.encoders.recordings.format import RecordingError
from spikesight.encoders.sample import is_image
from spikesight.encoders.sources.chunks import VIDEO_SUFFIXES
from spikesight.encoders.words import some_of
from spikesight.training.data.sets import DataError, MissingDataError

Layout = Literal["classes", "sessions", "flat"]
Part = Literal["train", "val", "test"]
PARTS: dict[str, Part] = {
    "train": "train", "training": "train", "test": "test", "testing": "test", "val": "val", "valid": "val",
    "validation": "val",
}  # fmt: skip
"""Folder names, in any capitals, that assign recordings to a part of a run."""

SESSION_WORDS = frozenset(
    re.findall(
        r"\w+",
        "session sess s day d night morning afternoon evening take run rec record recording trial try round batch user "
        "subject subj person participant part clip sample seq sequence scene date time "
        "monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri sat sun",
    )
)
"""Words that name a session (when, where or of whom a recording was made) and not a class."""


SESSION_GAP_S = 3600.0  # between the times of two files: a new session begins


@dataclass(frozen=True)
class FolderRecording:
    """One recording of a folder."""

    path: Path
    label: str
    session: str  # day, person or place, from the names, else from the files' times; empty if unknown
    part: Part


@dataclass(frozen=True)
class Folder:
    """The recordings of a folder, and the layout by which their names were read."""

    path: Path
    layout: Layout
    recordings: tuple[FolderRecording, ...]  # in the order of their paths
    left_out: tuple[Path, ...]  # files that do not look like recordings of this layout

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes of the training recordings, sorted."""
        return tuple(sorted({recording.label for recording in self.recordings if recording.part == "train"}))


def read_folder(path: Path | str, layout: str = "auto", known: Sequence[str] = ()) -> Folder:
    """Find the recordings below a folder by their names; no events are read.

    `layout` is one of Layout, or "auto": inferred from the names and from `known` classes. Raises DataError if the
    names fit two layouts or tell no class, MissingDataError if there are no recordings.
    """
    path = Path(path)
    if layout != "auto" and layout not in get_args(Layout):
        raise DataError(f"there is no layout {layout!r}; choose one of {', '.join(get_args(Layout))}")
    if not path.is_dir():
        raise MissingDataError(f"no folder {path}: give a folder of recordings, or a data set's name")
    files = [f for f in sorted(path.rglob("*")) if f.is_file() and "/." not in f"/{f.relative_to(path).as_posix()}"]
    found = [f for f in files if _is_recording(f)]
    if not found:
        if any(is_image(f) and f.parent == path for f in files):
            raise MissingDataError(f"{path} holds pictures without classes: make one folder a class, <class>/<picture>")
        if any(is_image(f) or f.suffix.lower() in VIDEO_SUFFIXES for f in files):
            raise MissingDataError(f"{path} holds pictures or videos: make events of them with spikesight emulate")
        raise MissingDataError(f"there are no recordings in {path} ({', '.join(sorted(_suffixes()))})")
    parts = _parts(path, found)
    chosen: Layout = _choose(path.name, parts["train"], known) if layout == "auto" else cast(Layout, layout)
    recordings = [recording for part, names in parts.items() for recording in _recordings(names, chosen, part)]
    used = {recording.path for recording in recordings}
    if not recordings:
        raise DataError(f"{path} holds no recordings in the layout {chosen}: try another --layout")
    unknown = {t.label for t in recordings} - {t.label for t in recordings if t.part == "train"}
    if unknown:
        raise DataError(f"class {min(unknown)!r} has no training recordings in {path}, only others")
    recordings.sort(key=lambda recording: recording.path)
    if not any(recording.session for recording in recordings):
        recordings = _by_time(recordings)
    left_out = tuple(f for f in files if f not in used and f.suffix != ".bias")  # a camera's, beside its recordings
    return Folder(path, chosen, tuple(recordings), left_out)


def common_sessions(recordings: Sequence[FolderRecording]) -> list[str]:
    """Return the sessions that have recordings of every class, sorted; none if a recording has no session."""
    labels = {recording.label for recording in recordings}
    seen: dict[str, set[str]] = {}
    for recording in recordings:
        seen.setdefault(recording.session, set()).add(recording.label)
    return sorted(name for name, of in seen.items() if of == labels) if "" not in seen else []


def has_complete_sessions(recordings: Sequence[FolderRecording]) -> bool:
    """Return whether there are several sessions that each hold every class, so that one can test what others teach."""
    common = common_sessions(recordings)
    return len(common) > 1 and set(common) == {recording.session for recording in recordings}


def _by_time(recordings: list[FolderRecording]) -> list[FolderRecording]:
    """Set sessions by modification times, split at gaps of SESSION_GAP_S, if each session then holds every class."""
    times = {recording.path: recording.path.stat().st_mtime for recording in recordings}
    ordered = sorted(times.values())
    begins = [late for early, late in pairwise(ordered) if late - early >= SESSION_GAP_S]
    timed = [
        replace(recording, session=f"sitting {bisect(begins, times[recording.path]) + 1}") for recording in recordings
    ]
    return timed if has_complete_sessions(timed) else recordings


def _suffixes() -> frozenset[str]:
    return frozenset(suffix for kind in formats().values() for suffix in kind.suffixes)


def _is_recording(path: Path) -> bool:
    """Return whether a file is a recording, by its suffix; text files are opened, for many are notes or label lists."""
    if path.suffix.lower() not in _suffixes():
        return False
    if path.suffix.lower() not in (".csv", ".txt"):
        return True
    try:
        detect_format(path)
    except RecordingError:
        return False
    return True


Names = list[tuple[Path, Sequence[str]]]
"""Files, each with the names of the folders between the base and it, and its own name without the suffix."""


def _parts(path: Path, found: Iterable[Path]) -> dict[Part, Names]:
    """Sort files by part; val/ is the test part if there is no test/; without train/, all are training files."""
    parts: dict[Part, Names] = {"train": [], "val": [], "test": []}
    found = list(found)
    tops = {f.relative_to(path).parts[0].lower() for f in found if f.parent != path}
    if not any(PARTS.get(top) == "train" for top in tops):
        parts["train"] = [(f, _names(path, f)) for f in found]
        return parts
    for file in found:
        top, *rest = _names(path, file)
        if rest and top.lower() in PARTS:
            parts[PARTS[top.lower()]].append((file, tuple(rest)))
    if not parts["test"]:
        parts["test"], parts["val"] = parts["val"], []
    return parts


def _names(path: Path, file: Path) -> tuple[str, ...]:
    return (*file.relative_to(path).parts[:-1], file.stem)


def _choose(where: str, files: Names, known: Sequence[str] = ()) -> Layout:
    """Infer the layout from the names. Raises DataError if both readings of the folders make sense."""
    below = [names for _, names in files if len(names) > 1]
    if not below:
        return "flat"
    tops = sorted({names[0] for names in below})
    inner: dict[str, set[str]] = {top: set() for top in tops}
    direct = _by_name([names[1] for names in below if len(names) == 2])
    for names in below:
        inner[names[0]].add(names[1] if len(names) > 2 else direct[names[1]][0])
    shared = Counter(label for labels in inner.values() for label in labels)
    outside, inside = len(set(tops) & set(known)), len(set(shared) & set(known))
    if outside != inside:
        return "classes" if outside > inside else "sessions"
    named = [label for label in shared if label and not _is_session(label)]
    if not named:
        days = all(map(_session, tops)) and not any(map(_session, shared)) and min(map(len, below)) > 2
        return "sessions" if days else "classes"  # day1/3/<any>: digits or letters as classes
    if max(map(len, tops)) < 3 and max(map(len, inner.values())) == 1 == max(shared.values()):
        return "classes"  # A/runA-1, B/runB-1: letters or digits as classes, told twice
    if all(map(_is_session, tops)) or (len(tops) == 1 and len(named) > 1):
        return "sessions"
    if min(map(len, inner.values())) > 1 and all(count > 1 for count in shared.values()):
        raise DataError(
            f"{where} can be read in two ways: classes {some_of(tops, 4)} (--layout classes), "
            f"or sessions with classes {some_of(sorted(shared), 4)} (--layout sessions): say which"
        )
    return "classes"


def _recordings(files: Names, layout: Layout, part: Part) -> list[FolderRecording]:
    files = [(file, names) for file, names in files if (len(names) > 1) == (layout != "flat")]
    by_name = _by_name([names[-1] for _, names in files])
    recordings = []
    for file, names in files:
        label, session = by_name[names[-1]]
        if layout == "classes":
            label, session = names[0], "/".join(names[1:-1]) or session
        elif layout == "sessions":
            label, session = (names[1] if len(names) > 2 else label), names[0]
        if not label:
            raise DataError(f"the name {file.name!r} tells no class: call it <class>-1{file.suffix}, or make folders")
        recordings.append(FolderRecording(file, label, session, part))
    return recordings


def _by_name(stems: list[str]) -> dict[str, tuple[str, str]]:
    """Return (class, session) of file names without suffixes; the class is empty if the name tells only a session.

    Final digits number the files if otherwise no two files shared a class, and if several classes then remain:
    cup1, cup2 and phone1 are two classes; gesture1 and gesture2 are two as well.
    """
    plain = {stem: _read_name(stem, counted=False) for stem in stems}
    labels = Counter(label for label, _ in plain.values())
    if labels and max(labels.values()) == 1:
        counted = {stem: _read_name(stem, counted=True) for stem in stems}
        if 1 < len({label for label, _ in counted.values()}) < len(labels):
            return counted
    return plain


def _read_name(stem: str, *, counted: bool) -> tuple[str, str]:
    dated = re.sub(r"(\d{4})[-_.](\d{2})[-_.](\d{2})(?!\d)", r"\1\2\3", stem)
    chunks = [chunk for chunk in re.split(r"[-_.\s()]+", dated) if chunk]
    kept = [chunk for chunk in chunks if not _is_session(chunk)]
    session = "-".join(c for c in chunks if _is_session(c) and (len(c) >= 6 or not (c.isdigit() or len(c) == 1)))
    if not kept:  # digits or letters as classes: 3-0001
        return (chunks[0] if chunks and (chunks[0].isdigit() or len(chunks[0]) == 1) else ""), session
    separator = next((c for c in stem if c in "-_ "), "-")
    label = separator.join(kept)
    return (re.sub(r"\d+$", "", label) or label) if counted else label, session


def _session(name: str) -> str:
    """Return the session that a name tells, which a digit or a letter alone does not; empty if none."""
    return _read_name(name, counted=False)[1]


def _is_session(name: str) -> bool:
    """Return whether a name tells a session: it has only session words, numbers, dates and single letters."""
    words = re.findall(r"[^\W\d_]+|\d+", name)
    return all(w.isdigit() or len(w) == 1 or w.lower() in SESSION_WORDS for w in words)
