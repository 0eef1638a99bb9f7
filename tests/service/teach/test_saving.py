"""A taught model on disk or in an archive, and a disk that takes nothing."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from service.http.errors import ServiceError
from service.teach import saving

MODEL: Any = "network"


def put(folder: Path, network: Any, card: Any) -> None:
    """Two files, as a checkpoint is."""
    assert (network, card) == (MODEL, "card")
    (folder / "weights").write_bytes(bytes(5000))
    (folder / "config").write_text("all")


def test_an_archive_holds_the_folder_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "save", put)
    packed = saving.archive("mine", MODEL, "card")  # type: ignore[arg-type]
    with zipfile.ZipFile(io.BytesIO(packed)) as file:
        assert file.namelist() == ["mine/config", "mine/weights"]
        assert file.read("mine/config") == b"all"
        assert file.read("mine/weights") == bytes(5000)
    assert len(packed) < 1000


def test_a_disk_that_takes_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr(saving, "save", full)
    for work, says in (
        (lambda: saving.write(tmp_path, MODEL, "card"), "free space where models are saved"),  # type: ignore[arg-type]
        (lambda: saving.archive("mine", MODEL, "card"), "no room for temporary files"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ServiceError, match=says) as caught:
            work()
        assert caught.value.status == 507
