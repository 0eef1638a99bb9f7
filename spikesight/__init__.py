"""Spikesight in Python: load a model, show it a recording, an image or a camera, and read its answers.

    import spikesight
    model = spikesight.load("nmnist")
    model.predict("walk.raw").label

Importing costs next to nothing: each name brings its module along when it is first used.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not Path(__file__).with_name("models").is_dir():  # a checkout without symbolic links, or a source archive
    __path__.append(str(Path(__file__).parent.parent))

__version__: str

if TYPE_CHECKING:
    from spikesight.encoders.events import SensorSize
    from spikesight.encoders.recordings.files import Recording, write_recording
    from spikesight.encoders.recordings.files import read_recording as read
    from spikesight.encoders.recordings.format import RecordingError
    from spikesight.encoders.sources.address import SourceError
    from spikesight.model import Model, list_models, load
    from spikesight.models.contract import CheckpointError
    from spikesight.models.steps import Prediction
    from spikesight.training.teach.teach import teach

__all__ = [
    "CheckpointError",
    "Model",
    "Prediction",
    "Recording",
    "RecordingError",
    "SensorSize",
    "SourceError",
    "list_models",
    "load",
    "read",
    "teach",
    "write_recording",
]

HOMES = {
    "CheckpointError": "spikesight.models.contract:CheckpointError",
    "Model": "spikesight.model:Model",
    "Prediction": "spikesight.models.steps:Prediction",
    "Recording": "spikesight.encoders.recordings.files:Recording",
    "RecordingError": "spikesight.encoders.recordings.format:RecordingError",
    "SensorSize": "spikesight.encoders.events:SensorSize",
    "SourceError": "spikesight.encoders.sources.address:SourceError",
    "list_models": "spikesight.model:list_models",
    "load": "spikesight.model:load",
    "read": "spikesight.encoders.recordings.files:read_recording",
    "teach": "spikesight.training.teach.teach:teach",
    "write_recording": "spikesight.encoders.recordings.files:write_recording",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in HOMES:
        raise AttributeError(f"module 'spikesight' has no name {name!r}")
    module, _, inside = HOMES[name].partition(":")
    return getattr(import_module(module), inside)


def _version() -> str:
    """Of the installation; "0" in a folder that was never installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("spikesight")
    except PackageNotFoundError:
        return "0"


def __dir__() -> list[str]:
    return __all__
