"""The models inside the package, and what a model's folder is called."""

import re
from pathlib import Path

from models.checkpoint import CONFIG
from models.contract import CheckpointError

SHIPPED = Path(__file__).parent
DEFAULT_MODEL = "nmnist"  # what takes a sample when no model is named


def shipped() -> dict[str, Path]:
    """Folders of the models inside the package, by name; the default one first."""
    found = {path.parent.name: path.parent for path in sorted(SHIPPED.glob(f"*/{CONFIG}"))}
    return dict(sorted(found.items(), key=lambda item: item[0] != DEFAULT_MODEL))


def find(wanted: str) -> Path:
    """The folder of a shipped model's name, or the folder itself. Raises CheckpointError."""
    known = shipped()
    if wanted in known:
        return known[wanted]
    if (Path(wanted) / CONFIG).is_file():
        return Path(wanted)
    raise CheckpointError(
        f"no model {wanted!r}: give a folder with {CONFIG}, or a shipped name ({', '.join(known) or 'none'})"
    )


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
"""What may stand in a URL as a model's name."""


def name_of(folder: Path) -> str:
    """What the model in this folder is called: trainings write runs/<name>/model, so there it is the run's name.

    >>> name_of(Path("runs/gestures/model")), name_of(Path("mine"))
    ('gestures', 'mine')
    """
    folder = folder.resolve()
    return folder.parent.name if folder.name == "model" and folder.parent.name else folder.name


def names(folders: list[Path]) -> list[str]:
    """The names of models that are used together; raises CheckpointError where one is not fit for a URL or not unique.

    >>> names([Path("runs/a/model"), Path("runs/b/model"), Path("mine")])
    ['a', 'b', 'mine']
    """
    found = [name_of(folder) for folder in folders]
    for name in found:
        if not NAME.match(name):
            raise CheckpointError(f"the model folder {name!r} needs another name: letters, digits, . _ -")
        if found.count(name) > 1:
            raise CheckpointError(f"two models are called {name!r}: one of their folders needs another name")
    return found
