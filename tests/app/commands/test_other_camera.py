"""Whatever command reads events says, where the model knows its own camera, that another one stands there."""

from dataclasses import replace
from pathlib import Path

import pytest

from spikesight.app.cli import main
from spikesight.encoders.sources.settings import write_settings
from spikesight.models.checkpoint import save
from spikesight.models.novelty.profile import Profile
from tests.support.inputs.data_sets import write_takes
from tests.support.models import tiny

ANYTHING, FEW = (0.0, 0.5, 1.0), (0.01, 0.02, 0.03)
COMMANDS = {
    "predict": ["predict", "one-1.npz", "--model", "MODEL"],
    "evaluate": ["evaluate", "MODEL", "."],
    "webcam": ["webcam", "--source", "one-1.npz", "--model", "MODEL", "--no-window"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_another_camera_is_told_of_and_ones_own_is_not(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "takes").mkdir()
    takes = write_takes(tmp_path / "takes", ["one-1.npz", "two-1.npz"], 0.6)
    for name in ("one-1.npz", "two-1.npz"):
        write_settings(takes / name, {"serial": "43"})
    classifier = tiny()
    for name, rate, serial in (("own", (0.01, 0.02, 1e6), "43"), ("other", FEW, "42")):
        card = replace(classifier.card, training={"camera": {"serial": serial}})
        save(tmp_path / name, classifier.network, replace(card, profile=Profile(rate, ANYTHING, ANYTHING)))
    monkeypatch.chdir(tmp_path / "takes")
    for name, told in (("own", False), ("other", True)):
        assert main([word.replace("MODEL", f"../{name}") for word in COMMANDS[command]]) == 0
        said = capsys.readouterr().err
        assert ("times the events that this model learnt from" in said) == told
        assert ("serial 43 in place of 42" in said) == told
