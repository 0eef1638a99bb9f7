"""One name: in a folder with packages app, encoders, models, service and training of its own everything of ours works,
from a checkout and from a wheel, and nothing of ours is imported under these names.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import write_recording
from tests.support.inputs.data_sets import digit_events, write_nmnist
from tests.support.inputs.samples import picture
from tests.support.processes import ROOT
from tests.support.serving.servers import Served

NAMES = ["app", "encoders", "models", "service", "training"]


def build(kind: str, source: Path, to: Path) -> Path:
    """A wheel without libraries, or a source archive."""
    pytest.importorskip("hatchling", reason="hatchling builds it: pip install 'spikesight[dev]'")
    command = [sys.executable, "-m", "build", "-q", "--no-isolation", f"--{kind}", "--outdir", to, source]
    done = subprocess.run(command, env={**os.environ, "SPIKESIGHT_WHEEL": "none"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = to.iterdir()
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module", params=["checkout", "wheel"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `spikesight` comes from."""
    if request.param == "checkout":
        return ROOT
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(request.getfixturevalue("wheel")) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def theirs(tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that programs are started in, with packages of its own under all five names."""
    for name in NAMES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("THEIRS = True\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(place)]))
    return tmp_path


FACE = """
import numpy as np
import spikesight

digit = np.zeros((28, 28), np.uint8)
digit[5:23, 13:16] = 255
model = spikesight.load("nmnist")
assert model.predict(digit).label == "1"
assert [answer.label for answer in model.stream("digit-3")][-1] == "3"
"""
RESEARCH = """
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import spikesight
from spikesight.encoders.emulator.saccades import saccades
from spikesight.models.conversion.convert import convert
from spikesight.training.config import TrainConfig
from spikesight.training.run.fit import fit


class Moved(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, n):
        return len(saccades(np.eye(28, k=n, dtype=np.uint8) * 255))


if __name__ == "__main__":
    assert all(n > 0 for n in DataLoader(Moved(), num_workers=1, multiprocessing_context="spawn"))
    fit(TrainConfig.of(data="nmnist", root=".", network="event-small", epochs=1, steps=2), Path("run"))
    assert spikesight.load("run/model").labels == ("0", "1")
    ann = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()
    assert convert(ann, [torch.rand(8, 1, 8, 8)], "ours", steps=4)
"""
CHECK = f"""
if __name__ == "__main__":
    import sys

    assert Path(spikesight.__file__).is_relative_to(sys.argv[1]), spikesight.__file__
    assert not {{*{NAMES}}} & {{*sys.modules}}, "imported under a name that is not ours"
    import app, encoders, models, service, training
    assert all(one.THEIRS for one in (app, encoders, models, service, training))
    print("well")
"""


@pytest.mark.parametrize("program", [FACE, RESEARCH], ids=["face", "research"])
def test_programs_work_beside_packages_of_these_names(program: str, theirs: Path, place: Path) -> None:
    write_nmnist(theirs)
    (theirs / "program.py").write_text("from pathlib import Path\n" + program + CHECK)
    done = subprocess.run([sys.executable, "program.py", place], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["well"], done.stderr


def test_a_service_answers_beside_packages_of_these_names(theirs: Path) -> None:
    write_recording(theirs / "one.aedat4", digit_events(0, 0), SensorSize(34, 34))  # for the decoder's process
    served = Served()
    try:
        assert served.client.predict(picture()).label
        assert served.client.predict(theirs / "one.aedat4").label
    finally:
        served.process.terminate()
        served.finish()


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is absent: pip install 'spikesight[cluster]'")
def test_replicas_answer_beside_packages_of_these_names(theirs: Path) -> None:
    write_recording(theirs / "one.aedat4", digit_events(0, 0), SensorSize(34, 34))
    served = Served("--cluster", "--replicas", "2")
    try:
        assert {served.client.predict(theirs / "one.aedat4").label for _ in range(8)}
    finally:
        served.process.terminate()
        served.finish()


def test_commands_train_beside_packages_of_these_names(theirs: Path) -> None:
    write_nmnist(theirs)
    start = (
        "import sys; from spikesight.app.cli import train_dvs; sys.exit(train_dvs())"  # as the installed command does
    )
    flags = "--data nmnist --root . --network event-small --epochs 1 --steps 2 --output runs"
    done = subprocess.run([sys.executable, "-c", start, *flags.split()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (model,) = theirs.glob("runs/*/model")
    command = [sys.executable, "-m", "spikesight", "predict", "--model", model, "Test/0/00000.bin"]
    assert subprocess.run(command, capture_output=True).returncode == 0


def test_a_wheel_holds_one_package_and_all_of_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    command = ["git", "ls-files", "-co", "--exclude-standard", "spikesight", *NAMES]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git here")
    files = {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}
    assert held == {name if name.startswith("spikesight/") else f"spikesight/{name}" for name in files}


def test_a_wheel_from_the_source_archive_is_that_of_the_checkout(wheel: Path, tmp_path: Path) -> None:
    source = build("sdist", ROOT, tmp_path / "source")
    subprocess.run(["tar", "-xf", source, "-C", tmp_path], check=True)
    again = build("wheel", tmp_path / source.name.removesuffix(".tar.gz"), tmp_path / "wheel")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())


def test_every_folder_has_its_link_and_no_link_is_needed(tmp_path: Path) -> None:
    """A checkout where links are no links, as on some systems: two lines find the folders."""
    for name in NAMES:
        assert (ROOT / "spikesight" / name).resolve() == ROOT / name
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "spikesight").mkdir()
    for path in (ROOT / "spikesight").glob("*.py*"):
        shutil.copy(path, tmp_path / "spikesight")
    for name in NAMES:
        (tmp_path / "spikesight" / name).write_text(f"../{name}")  # what git leaves there
    program = "import spikesight.models.steps as m; import spikesight; print(spikesight.list_models()[0], m.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["nmnist", str(tmp_path / "models" / "steps.py")], done.stderr
