"""The models shipped with the package, and the rules for model names."""

import re
from pathlib import Path

from spikesight.models.checkpoint import CONFIG
from spikesight.models.contract import CheckpointError
from spikesight.models.shipped.hub import SCHEME, fetch, name_in

SHIPPED = Path(__file__).parent
DEFAULT_MODEL = "nmnist"  # used when no model is named
START = "things"  # the network that teaching and training on own recordings start from; its answers mean nothing


def shipped() -> dict[str, Path]:
    """Return the folders of the shipped models by name, the default first."""
    found = {path.parent.name: path.parent for path in sorted(SHIPPED.glob(f"*/{CONFIG}"))}
    return dict(sorted(found.items(), key=lambda item: item[0] != DEFAULT_MODEL))


def starts() -> dict[str, Path]:
    """Return the folders of the networks to start from by name: START and the shipped models."""
    return {START: SHIPPED.parent / "teach" / START, **shipped()}


def find(wanted: str) -> Path:
    """Return the folder of a shipped name, an address hf://owner/name@revision, or a path. Raises CheckpointError."""
    if wanted.startswith(SCHEME):
        return fetch(wanted)
    if (known := starts().get(wanted)) is not None:
        return known
    if (Path(wanted) / CONFIG).is_file():
        return Path(wanted)
    raise CheckpointError(
        f"no model {wanted!r}: give a folder with {CONFIG}, {SCHEME}owner/name, "
        f"or a shipped name ({', '.join(shipped()) or 'none'})"
    )


FORM = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}(?<!\.)\Z")  # valid in a URL and as a folder on every system
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?\Z")  # names reserved by Windows, with any suffix
TEACHING_ID = re.compile(r"teaching-[0-9a-f]{24}\Z")  # ids of teaching sessions, which address their models


def why_unfit(name: str) -> str:
    """Return why a model cannot have this name, as half a sentence; empty if it can. The one rule for all names.

    Names that differ only in case count as equal, since some file systems do not distinguish them.

    >>> [not why_unfit(name) for name in ("gestures-2", "../x", "CON.1", "end.")]
    [True, False, False, False]
    """
    name = name.casefold() if name.isascii() else ""
    if not FORM.match(name):
        return "names are letters, digits, '.', '_' and '-', at most 64, with no '.' at an end"
    if DEVICES.match(name) or TEACHING_ID.match(name):
        return "it is kept for something else"
    return ""


def name_of(folder: Path) -> str:
    """Return the name of the model in this folder; in runs/<name>/model, where training writes, the run's name.

    >>> name_of(Path("runs/gestures/model")), name_of(Path("mine"))
    ('gestures', 'mine')
    """
    folder = folder.resolve()
    return name_in(folder) or (folder.parent.name if folder.name == "model" and folder.parent.name else folder.name)


def names(folders: list[Path]) -> list[str]:
    """Return the names of models used together. Raises CheckpointError if a name is unfit or not unique.

    >>> names([Path("runs/a/model"), Path("runs/b/model"), Path("mine")])
    ['a', 'b', 'mine']
    """
    found = [name_of(folder) for folder in folders]
    for name in found:
        if reason := why_unfit(name):
            raise CheckpointError(f"the model folder {name!r} needs another name: {reason}")
        if [other.casefold() for other in found].count(name.casefold()) > 1:
            raise CheckpointError(f"two models are called {name!r}: one of their folders needs another name")
    return found
