"""Taught models as checkpoint folders: in a ZIP archive, or saved on the service, served, removed."""

import io
import secrets
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spikesight.models.checkpoint import save
from spikesight.models.classifier import Classifier
from spikesight.models.contract import Card
from spikesight.models.networks.taught import TaughtNetwork
from spikesight.models.shipped import shipped
from spikesight.service.decoding.decode import NO_ROOM
from spikesight.service.http.errors import ServiceError
from spikesight.service.runtime import Runtime
from spikesight.service.served.saved import entries, unfit_to_save

MAX_SAVED = 32
NOT_KEPT = "this service keeps no models: start it with --save-to FOLDER, or download the model"
NOT_SAVED = "only models that were taught and saved here can be removed"
NO_CHANGE = "the folder of saved models cannot be changed"


@dataclass(frozen=True)
class SavedHead:
    """A network with a learnt head, its card, and its quality (see `models.teach.advice.report`)."""

    network: TaughtNetwork
    card: Card
    report: dict[str, Any]


def archive(name: str, network: TaughtNetwork, card: Card) -> bytes:
    """Return a ZIP file with the model in the folder `name`. Raises ServiceError 507."""
    packed = io.BytesIO()
    try:
        with tempfile.TemporaryDirectory() as temporary, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
            save(Path(temporary), network, card)
            for path in sorted(Path(temporary).iterdir()):
                file.write(path, f"{name}/{path.name}")
    except OSError:
        raise ServiceError(507, NO_ROOM) from None
    return packed.getvalue()


class SavedModels:
    """Models saved on the service. All methods raise ServiceError and may be slow: call them in the teaching thread."""

    def __init__(self, runtime: Runtime) -> None:
        self._registry, self._save_to = runtime.registry, runtime.settings.save_to

    def folder(self) -> Path:
        """Return the folder of saved models. Raises ServiceError 403 if the service saves none."""
        if self._save_to is None:
            raise ServiceError(403, NOT_KEPT)
        return self._save_to

    def save(self, name: str, head: SavedHead, own: str | None) -> None:
        """Save a model and serve it. `own`: the name that the session saved by last, the only one it may overwrite."""
        folder = self.folder()
        if name != own:
            self._check_free(name)
        there = entries(folder)
        if folder / name not in there and len(there) >= MAX_SAVED:
            raise ServiceError(409, f"{MAX_SAVED} models are saved already: remove one first")
        try:
            save(folder / name, head.network, head.card)
        except OSError:
            raise ServiceError(507, "the model cannot be written: free space where models are saved") from None
        self._registry.add(Classifier.load(folder / name), folder / name)

    def remove(self, name: str) -> None:
        """Remove a saved model and its folder; open streams and requests finish."""
        folder = self._saved_folder(name)
        hidden = folder.with_name(f".{secrets.token_hex(8)}")  # hidden first, so that nobody sees half a folder
        try:
            folder.rename(hidden)
            self._registry.remove(name)
            hidden.unlink() if hidden.is_symlink() else shutil.rmtree(hidden)
        except OSError:
            raise ServiceError(507, NO_CHANGE) from None

    def _saved_folder(self, name: str) -> Path:
        """Return the folder of a served, saved model. Raises ServiceError: 404 if unknown, 409 if not saved here."""
        self.folder()
        self._registry.get(name)
        if (folder := self._registry.saved_at(name)) is None:
            raise ServiceError(409, NOT_SAVED)
        return folder

    def _check_free(self, name: str) -> None:
        """Raise ServiceError 409 if a model of that name exists, ignoring case."""
        served = (model.name for model in self._registry.all())
        there = (path.name for path in entries(self.folder()))
        if name.casefold() in {other.casefold() for other in (*there, *shipped(), *served)}:
            raise ServiceError(409, "a model of that name is there already: choose another")


def check_name(name: str) -> None:
    """Raise ServiceError 400 if a model's folder cannot have this name."""
    if reason := unfit_to_save(name):
        raise ServiceError(400, f"the model needs another name: {reason}")
