"""The models inside the package, and what a model's folder is called."""

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


def name_of(folder: Path) -> str:
    """What a model in this folder is called: trainings write runs/<name>/model."""
    folder = folder.resolve()
    return folder.parent.name if folder.name == "model" and folder.parent.name else folder.name


def names(folders: list[Path]) -> list[str]:
    """A model has the name of its folder; where several share it (runs/a/model, runs/b/model) that of the run.

    >>> names([Path("runs/a/model"), Path("runs/b/model"), Path("mine")])
    ['a', 'b', 'mine']
    """
    own = [folder.resolve().name for folder in folders]
    return [folder.resolve().parent.name if own.count(name) > 1 else name for folder, name in zip(folders, own)]
