"""Spikesight in Python: load a model, show it a recording, an image or a camera, and read its answers.

    import spikesight
    model = spikesight.load("nmnist")
    model.predict("walk.raw").label

Importing costs next to nothing: each name brings its module along when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__: str

if TYPE_CHECKING:
    from encoders.events import SensorSize
    from encoders.recordings.files import Recording, write_recording
    from encoders.recordings.files import read_recording as read
    from encoders.recordings.format import RecordingError
    from encoders.sources.address import SourceError
    from models.contract import CheckpointError
    from models.steps import Prediction
    from spikesight.model import Model, load, models
    from training.teach.teach import teach

__all__ = [
    "CheckpointError",
    "Model",
    "Prediction",
    "Recording",
    "RecordingError",
    "SensorSize",
    "SourceError",
    "load",
    "models",
    "read",
    "teach",
    "write_recording",
]

HOMES = {
    "CheckpointError": "models.contract:CheckpointError",
    "Model": "spikesight.model:Model",
    "Prediction": "models.steps:Prediction",
    "Recording": "encoders.recordings.files:Recording",
    "RecordingError": "encoders.recordings.format:RecordingError",
    "SensorSize": "encoders.events:SensorSize",
    "SourceError": "encoders.sources.address:SourceError",
    "load": "spikesight.model:load",
    "models": "spikesight.model:models",
    "read": "encoders.recordings.files:read_recording",
    "teach": "training.teach.teach:teach",
    "write_recording": "encoders.recordings.files:write_recording",
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
