"""Models from disk: one that was named must be good, one that somebody saved may be broken and is left out."""

from pathlib import Path

import pytest

from models.checkpoint import save
from models.contract import CheckpointError
from service.http.metrics import Metrics
from service.scheduler.registry import Registry
from service.scheduler.threads import Mailbox
from service.settings import Settings
from tests.support.models import tiny


def kept(folder: Path, name: str, *, broken: bool = False) -> Path:
    made = tiny()
    save(folder / name, made.network, made.card)
    if broken:
        (folder / name / "config.json").write_text("{")
    return folder / name


def registry(saved: Path, *models: Path) -> Registry:
    return Registry(Settings(models=tuple(map(str, models)), save_to=saved), Metrics(), Mailbox())


def test_a_saved_model_that_is_broken_is_left_out_and_a_named_one_is_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved, good = tmp_path / "saved", kept(tmp_path, "good")
    kept(saved, "mine")
    kept(saved, "broken", broken=True)
    made = registry(saved, good)
    made.load()
    try:
        assert [model.name for model in made.all()] == ["good", "mine"]
        told = [vars(record)["fields"] for record in caplog.records if "left out" in record.getMessage()]
        assert [fields["model"] for fields in told] == ["broken"]
    finally:
        made.stop()
    with pytest.raises(CheckpointError):
        registry(saved, good, kept(tmp_path, "bad", broken=True)).load()
