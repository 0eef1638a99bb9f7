"""Models from disk: loaded, loaded again, and left out where somebody saved a broken one."""

import gc
import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from spikesight.models.classifier import Classifier
from spikesight.models.contract import CheckpointError
from spikesight.service.http.metrics import Metrics
from spikesight.service.scheduler.mailbox import Mailbox
from spikesight.service.scheduler.registry import Model, Registry
from spikesight.service.settings import Settings
from tests.support.models import kept, tiny
from tests.support.waiting import PATIENCE_S, until


def registry(saved: Path | None, *models: Path) -> Registry:
    return Registry(Settings(models=tuple(map(str, models)), save_to=saved), Metrics(), Mailbox())


def bias(classifier: Classifier) -> float:
    return float(classifier.network.get_parameter("readout.bias").detach()[0])


def test_a_model_that_is_loaded_again_is_what_lies_there_now(tmp_path: Path) -> None:
    made, changed = registry(None, kept(tmp_path / "one")), tiny()
    made.load()
    old = made.get("one")
    with torch.no_grad():
        changed.network.get_parameter("readout.bias").fill_(7.0)
    kept(tmp_path / "one", changed)
    made.load()
    fresh = made.get("one")
    assert fresh is made.get(None)
    assert (bias(old.classifier), bias(fresh.classifier)) == (pytest.approx(bias(tiny())), 7.0)
    assert fresh.scheduler._thread.is_alive()
    old.scheduler._thread.join(30)
    assert not old.scheduler._thread.is_alive(), "it was retired"
    (tmp_path / "one" / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError):
        made.load()
    assert made.get("one") is fresh
    made.stop()


@pytest.mark.parametrize("anew", [True, False])
def test_nothing_holds_a_model_that_is_served_no_more(tmp_path: Path, anew: bool) -> None:
    made = registry(tmp_path / "saved", kept(tmp_path / "good"))
    folder = kept(tmp_path / "saved" / "mine")
    made.load()
    thread, model = made.get("mine").scheduler._thread, weakref.ref(made.get("mine"))
    assert b'depth{model="mine"}' in made._metrics.text()
    if anew:
        folder.rename(tmp_path / "elsewhere")
        made.load()
    else:
        made.remove("mine")
    thread.join(PATIENCE_S)
    gc.collect()
    assert model() is None
    assert b'depth{model="mine"}' not in made._metrics.text()
    made.stop()


def test_of_two_saved_models_whose_names_differ_in_case_one_is_served(tmp_path: Path) -> None:
    made = registry(tmp_path / "saved", kept(tmp_path / "good"))
    for name in ("Mine", "mine"):
        kept(tmp_path / "saved" / name)
    made.load()
    assert [model.name for model in made.all()] == ["good", "Mine"]
    made.stop()


class Watched:
    """A lock that counts who wanted it."""

    def __init__(self) -> None:
        self._lock, self.wanted = threading.Lock(), 0

    def __enter__(self) -> None:
        self.wanted += 1
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_what_is_saved_and_removed_while_models_are_loaded_again_is_so_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, lock = registry(tmp_path / "saved", kept(tmp_path / "good")), Watched()
    kept(tmp_path / "saved" / "old")
    made.load()
    made._loading = lock  # type: ignore[assignment]
    loaded, go, from_disk = threading.Event(), threading.Event(), made._from_disk

    def load_slowly(folder: Path, name: str, of: str) -> Model:
        model = from_disk(folder, name, of)
        if name == "old":
            loaded.set()
            assert go.wait(PATIENCE_S)
        return model

    def change() -> None:
        made.remove("old")
        made.add(tiny(name="new"))

    monkeypatch.setattr(made, "_from_disk", load_slowly)
    with ThreadPoolExecutor(2) as threads:
        loading = threads.submit(made.load)
        assert loaded.wait(PATIENCE_S)
        changing = threads.submit(change)
        until(lambda: changing.done() or lock.wanted > 1)
        go.set()
        for work in (loading, changing):
            work.result(PATIENCE_S)
    assert [model.name for model in made.all()] == ["good", "new"]
    made.remove("old")  # as if the load had not found its folder any more
    made.stop()


@pytest.mark.attack(
    "model files",
    "saved models with others' names, damaged, unreadable, links",
    "left out with a warning; the start goes on",
)
def test_a_start_never_fails_for_what_was_saved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    saved, good, outside = tmp_path / "saved", kept(tmp_path / "good"), kept(tmp_path / "outside")
    whole = kept(saved / "mine")
    reasons = {
        "GOOD": "another model", "mnist-direct": "another model",  # the second is shipped, though not served here
        "nul": "kept for", "lesson-" + "0" * 24: "kept for",
        "with space": "names are", "ends.": "names are", "x" * 65: "names are", "model": "around it",
        "linked": "out of the folder", "linked-weights": "out of the folder", "dangling": "no config.json",
        "loop": "", "empty": "no config.json", "no-weights": "model.safetensors", "folders": "config.json",
        "fifo": "config.json", "cut": "damaged",
    }  # fmt: skip
    for name in list(reasons)[:8]:
        kept(saved / name)
    (saved / "linked").symlink_to(outside)
    kept(saved / "linked-weights").joinpath("model.safetensors").unlink()
    (saved / "linked-weights" / "model.safetensors").symlink_to(outside / "model.safetensors")
    (saved / "dangling").symlink_to(saved / "nowhere")
    (saved / "loop").symlink_to(saved / "loop")
    (saved / "empty").mkdir()
    kept(saved / "no-weights").joinpath("model.safetensors").unlink()
    (saved / "folders" / "config.json").mkdir(parents=True)
    (saved / "fifo").mkdir()
    os.mkfifo(saved / "fifo" / "config.json")
    os.truncate(kept(saved / "cut") / "model.safetensors", 1000)
    (saved / "notes.txt").write_text("a file is no model")
    (saved / "within").symlink_to(whole)
    made = registry(saved, good)
    made.load()
    try:
        assert [model.name for model in made.all()] == ["good", "mine", "within"]
        told = [vars(record)["fields"] for record in caplog.records if "left out" in record.getMessage()]
        assert {fields["model"] for fields in told} == set(reasons)
        for fields in told:
            assert reasons[fields["model"]] in fields["reason"], fields
    finally:
        made.stop()


@pytest.mark.parametrize("content", [None, ""])
def test_a_folder_of_saved_models_that_is_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "saved").write_text(content)
    made = registry(tmp_path / "saved", kept(tmp_path / "good"))
    made.load()
    assert [model.name for model in made.all()] == ["good"]
    made.stop()
