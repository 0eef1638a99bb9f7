"""A taught model on disk or in an archive, and a disk that takes nothing."""

import asyncio
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from service.http.errors import ServiceError
from service.teach import routes, saving

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


def test_a_saved_lesson_is_served_and_who_follows_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[object] = []
    head = SimpleNamespace(network=MODEL, card="card")
    registry = SimpleNamespace(all=lambda: [SimpleNamespace(name="shipped")], serve=lambda *given: log.append(given))

    async def settled() -> None:
        log.append("settled")

    async def run(work: Callable[[], None]) -> None:
        work()

    lesson: Any = SimpleNamespace(
        settled=settled, ready=lambda: head, saved=None, changed=lambda: log.append(f"told of {lesson.saved}")
    )
    runtime = SimpleNamespace(registry=registry, settings=SimpleNamespace(save_to=tmp_path))
    lessons: Any = SimpleNamespace(runtime=runtime, run=run)
    monkeypatch.setattr(routes, "write", lambda *given: log.append(("wrote", *given)))
    monkeypatch.setattr(routes.Classifier, "load", lambda path: path.name)
    asyncio.run(routes.save(lessons, lesson, "mine"))
    folder = tmp_path / "mine"
    assert log == ["settled", ("wrote", folder, MODEL, "card"), ("mine", folder), "told of mine"]
    with pytest.raises(ServiceError, match="a model of that name is there already") as caught:
        asyncio.run(routes.save(lessons, lesson, "shipped"))
    assert caught.value.status == 409
    runtime.settings.save_to = None
    with pytest.raises(ServiceError) as caught:
        asyncio.run(routes.save(lessons, lesson, "mine"))
    assert caught.value.status == 403


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
