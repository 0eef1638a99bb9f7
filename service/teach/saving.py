"""A taught model as an ordinary model folder, on disk or in an archive."""

import io
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from spikesight.models.checkpoint import save
from spikesight.models.contract import Card
from spikesight.models.networks.taught import TaughtNetwork
from spikesight.models.teach.few_shot import EmbeddedExample
from spikesight.models.teach.kept import beside
from spikesight.service.http.errors import ServiceError
from spikesight.service.upload.decode import NO_ROOM


def write(folder: Path, network: TaughtNetwork, card: Card, examples: Sequence[EmbeddedExample] = ()) -> None:
    """Into a folder, whole or not at all, with the examples that it can be corrected with.

    Raises ServiceError 507 where that cannot be written.
    """
    try:
        with beside(folder, examples):
            save(folder, network, card)
    except OSError:
        raise ServiceError(507, "the model cannot be written: free space where models are saved") from None


def archive(name: str, network: TaughtNetwork, card: Card) -> bytes:
    """A ZIP file with the folder `name`. Raises ServiceError 507."""
    packed = io.BytesIO()
    try:
        with tempfile.TemporaryDirectory() as temporary, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
            save(Path(temporary), network, card)
            for path in sorted(Path(temporary).iterdir()):
                file.write(path, f"{name}/{path.name}")
    except OSError:
        raise ServiceError(507, NO_ROOM) from None
    return packed.getvalue()
