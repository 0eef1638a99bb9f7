"""`spikesight doctor`: every check answers, and a fault comes with its remedy."""

import shutil
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from spikesight.app.cli import main
from spikesight.app.commands import doctor
from tests.support.models import kept


def test_every_check_says_something_and_the_last_line_counts_what_is_to_mend(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["doctor"])
    *lines, last = capsys.readouterr().out.splitlines()
    broken = sum(line.startswith("FIX") for line in lines)
    assert {line[6:].split()[0] for line in lines} >= {"packages", "gpu", "cameras", "models"}
    assert (code, last) == ((1, f"{broken} to mend") if broken else (0, "nothing to mend"))
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter([doctor.Finding("FIX", "a", "x")] * 2),))
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "2 to mend"


def test_it_says_whether_tonic_is_there_and_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(state: str) -> str:
        return next(one.text for one in doctor.check_packages() if (one.topic, one.state) == ("[datasets]", state))

    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    assert of("ok").startswith("tonic 1.")
    monkeypatch.setattr(doctor, "version", absent)
    assert of("note").endswith("pip install 'spikesight[datasets]', then pip install --no-deps tonic")


def test_a_library_of_cameras_that_does_not_load_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "neuromorphic_drivers", None)
    assert any(one.state == "note" and "needs neuromorphic_drivers" in one.text for one in doctor.check_cameras())


def test_shipped_models_none_one_without_an_engine_and_a_broken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spikesight.models.shipped.SHIPPED", tmp_path)
    assert [f.state for f in doctor.check_models()] == ["FIX"]
    kept(tmp_path / "good")
    shutil.copytree(tmp_path / "good", tmp_path / "worse")
    (tmp_path / "worse" / "model.safetensors").write_bytes(b"cut")
    good, worse = doctor.check_models()
    assert (good.state, worse.state) == ("ok", "FIX")
    assert good.text.startswith("good: 3 classes, events, trained with spikes, runs on the engine")
    assert worse.text.startswith("worse: ")
    monkeypatch.setattr("spikesight.models.engine.engine.why_not", lambda _: "no compiler")
    assert next(doctor.check_models()).text.endswith("runs on PyTorch (no compiler)")
