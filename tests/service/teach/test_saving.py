"""A taught model on disk or in an archive, and a disk that takes nothing."""

import asyncio
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spikesight.service.http.errors import ServiceError
from spikesight.service.teach import routes, saving
from tests.support.processes import in_fresh_process

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


def test_a_saved_session_is_served_and_who_follows_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[object] = []
    head = SimpleNamespace(network=MODEL, card="card")
    registry = SimpleNamespace(all=lambda: [SimpleNamespace(name="shipped")], serve=lambda *given: log.append(given))

    async def settled() -> None:
        log.append("settled")

    async def run(work: Callable[[], None]) -> None:
        work()

    session: Any = SimpleNamespace(
        learner=SimpleNamespace(settled=settled, ready=lambda: head),
        saved=None,
        tell=lambda: log.append(f"told of {session.saved}"),
        turns=SimpleNamespace(run=run),
    )
    runtime = SimpleNamespace(registry=registry, settings=SimpleNamespace(save_to=tmp_path))
    sessions: Any = SimpleNamespace(runtime=runtime)
    monkeypatch.setattr(routes, "write", lambda *given: log.append(("wrote", *given)))
    monkeypatch.setattr(routes.Classifier, "load", lambda path: path.name)
    asyncio.run(routes.save(sessions, session, "mine"))
    folder = tmp_path / "mine"
    assert log == ["settled", ("wrote", folder, MODEL, "card"), ("mine", folder), "told of mine"]
    with pytest.raises(ServiceError, match="a model of that name is there already") as caught:
        asyncio.run(routes.save(sessions, session, "shipped"))
    assert caught.value.status == 409
    runtime.settings.save_to = None
    with pytest.raises(ServiceError) as caught:
        asyncio.run(routes.save(sessions, session, "mine"))
    assert caught.value.status == 403


FULL = """
import resource
from pathlib import Path
from spikesight.service.http.errors import ServiceError
from spikesight.service.teach.saving import archive, write
from tests.support.models import tiny
made, saved = tiny(), Path({folder!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, -1))
for work in (lambda: write(saved / "mine", made.network, made.card), lambda: archive("mine", made.network, made.card)):
    try:
        work()
    except ServiceError as error:
        print(error.status, error)
print(list(saved.iterdir()))
"""


@pytest.mark.attack("teaching", "saving and downloading on a full disk", "507; nothing is half-written")
def test_a_full_disk_is_said_and_nothing_is_left_on_it(tmp_path: Path) -> None:
    saved, temporary = tmp_path / "saved", tmp_path / "temporary"
    saved.mkdir()
    temporary.mkdir()
    said = in_fresh_process(FULL.format(folder=str(saved)), TMPDIR=str(temporary)).splitlines()
    assert said[0] == "507 the model cannot be written: free space where models are saved"
    assert said[1].startswith("507 ")
    assert said[2] == "[]"
    assert list(temporary.iterdir()) == []
