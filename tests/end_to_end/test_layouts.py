"""Folders of recordings as people have them: one command trains on each, teaches from it, and evaluates another day."""

import json
import shutil
from pathlib import Path

import pytest

from spikesight.app.cli import main
from spikesight.encoders.events import SensorSize
from spikesight.training.data.folders import read_folder
from tests.support.inputs.things import clip, filmed

pytestmark = pytest.mark.usefixtures("no_curves")
SHORT, LONG, DAY = 0, 1, 2  # takes of the first day begin at their number, so do those of another day
LAYOUTS = {
    "class folders": ("classes", "{kind}/{take}.npz", SHORT),
    "flat files": ("flat", "{kind}-{take}.npz", SHORT),
    "one long recording a class": ("flat", "{kind}.npz", LONG),
    "sessions": ("sessions", "day{take}/{kind}.npz", SHORT),
    "train and test": ("classes", "{part}/{kind}/{take}.npz", SHORT),
}
TAKES = {SHORT: (0, 1, 2), LONG: (3,), DAY: (4,)}
SECONDS = {0: 3, 1: 3, 2: 3, 3: 18, 4: 3}
Filmed = dict[tuple[str, int], Path]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Filmed:
    """Two things before a camera, in every take."""
    folder, found = tmp_path_factory.mktemp("filmed"), {}
    for kind in ("mug", "key"):
        for take, seconds in SECONDS.items():
            frames = clip(kind, 10 + take, 30 * seconds)
            found[kind, take] = filmed(folder / f"{kind}{take}.npz", frames, SensorSize(160, 120), take)
    return found


def lay_out(recordings: Filmed, root: Path, pattern: str, takes: tuple[int, ...]) -> None:
    """Copies of these takes, in a layout."""
    for (kind, take), path in recordings.items():
        if take in takes:
            to = root / pattern.format(kind=kind, take=take, part="test" if take == takes[-1] else "train")
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[dict, str]:
    """What a command prints: its last line, of JSON, and all of it."""
    assert main([*words, "--json"]) == 0
    out = capsys.readouterr().out
    return json.loads(out.splitlines()[-1]), out


@pytest.fixture
def layout(
    request: pytest.FixtureRequest, recordings: Filmed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, int]:
    """A layout by its name, and its recordings: they are in `things`, others in `another day`."""
    kind, pattern, takes = LAYOUTS[request.param]
    lay_out(recordings, tmp_path / "things", pattern, TAKES[takes])
    lay_out(recordings, tmp_path / "another day", "{kind}.npz", TAKES[DAY])
    monkeypatch.chdir(tmp_path)
    return kind, 2 * len(TAKES[takes])


@pytest.mark.parametrize("layout", LAYOUTS, indirect=True)
def test_a_folder_is_taken_as_it_is(layout: tuple[str, int], capsys: pytest.CaptureFixture[str]) -> None:
    kind, count = layout
    folder = read_folder("things")
    assert (folder.layout, len(folder.labels), len(folder.takes)) == (kind, 2, count)
    told, _ = said(capsys, "teach", "--data", "things", "--to", "taught", "--window-ms", "200")
    assert told["labels"] == ["key", "mug"]
    other, _ = said(capsys, "evaluate", "taught", "another day")
    assert other["right"]["accuracy"] > 0.9
    assert abs(other["right"]["accuracy"] - told["accuracy"]) < 0.1


@pytest.mark.parametrize("layout", ["sessions"], indirect=True)
def test_one_command_trains_on_a_folder_and_knows_it_again(
    layout: tuple[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    kind, count = layout
    settings = {
        "network": "event-small",
        "epochs": 1,
        "epoch-steps": 6,
        "crop": "object",
        "window-ms": 200,
    }
    run, out = said(capsys, "train", "--data", "things", *(f"--{name}={value}" for name, value in settings.items()))
    assert f"layout {kind}: 2 classes, {count} recordings" in out
    trained, _ = said(capsys, "evaluate", f"{run['run']}/model", "another day")
    assert trained["right"]["count"] > 0
    assert trained["shared"] == []
    again, _ = said(capsys, "evaluate", f"{run['run']}/model", "things")
    assert 0 < len(again["shared"]) < again["right"]["count"] == count, "all but the session that it was tested on"
