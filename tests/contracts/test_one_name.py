"""One name: in a folder with packages app, encoders, models, service and training of its own everything of ours works
from a wheel, and nothing of ours is imported under these names.
"""

import os
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import write_recording
from tests.contracts.test_docs import NEEDS, blocks
from tests.support.inputs.data_sets import digit_events, write_nmnist
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


def unpacked(wheel: Path, folder: Path) -> Path:
    """The wheel's files, with the loops that the checkout has compiled: numba compares the times of their sources."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    for path in folder.rglob("spikesight/*/**/*.py"):
        source = ROOT / path.relative_to(folder / "spikesight")
        shutil.copystat(source, path)
        for loop in source.parent.glob(f"__pycache__/{source.stem}.*.nb?"):
            (path.parent / "__pycache__").mkdir(exist_ok=True)
            shutil.copy2(loop, path.parent / "__pycache__")
    return folder


@pytest.fixture(scope="module")
def place(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `spikesight` comes from; every other test takes it from the checkout."""
    return unpacked(wheel, tmp_path_factory.mktemp("unpacked"))


@pytest.fixture
def theirs(tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that programs are started in, with packages of its own under all five names."""
    for name in NAMES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("THEIRS = True\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(place)]))
    return tmp_path


PROGRAM = f"""
import sys
from pathlib import Path

import spikesight

if __name__ == "__main__":
    assert Path(spikesight.__file__).is_relative_to(sys.argv[1]), spikesight.__file__
    # the page on Python, with a training loop and a network of one's own
{{page}}
    from fastapi.testclient import TestClient

    from spikesight.app.cli import train_dvs
    from spikesight.models import Classifier
    from spikesight.service.api import create_app
    from spikesight.service.settings import Settings

    sys.argv[1:] = "--data nmnist --root . --network event-small --epochs 1 --steps 2 --name run".split()
    assert train_dvs() == 0  # as the installed command does
    assert spikesight.load("runs/run/model").labels == ("0", "1")
    service = create_app(Settings(allowed_hosts=("testserver",), deadline_s=60), (Classifier.load(Path("bars")),))
    with TestClient(service) as client:  # the network of the page, served
        assert client.get("/v1/models").json()["models"][0]["name"] == "bars"
        answer = client.post("/v1/predict", files={{{{"file": Path("one.aedat4").read_bytes()}}}}).json()
        assert answer.get("label") in ("vertical", "horizontal", "cross", "frame", "unknown"), answer
    assert not {{{{*{NAMES}}}}} & {{{{*sys.modules}}}}, "imported under a name that is not ours"
    import app, encoders, models, service, training
    assert all(one.THEIRS for one in (app, encoders, models, service, training))
    print("well")
"""


def test_the_page_on_python_training_and_a_service_work_beside_packages_of_these_names(
    theirs: Path, place: Path
) -> None:
    write_nmnist(theirs)
    found = [block.text for block in blocks(ROOT / "docs" / "python.md") if block.language == "python"]
    page = "\n".join(text for text in found if not NEEDS.match(text))
    (theirs / "program.py").write_text(PROGRAM.format(page=textwrap.indent(page, "    ")))
    done = subprocess.run([sys.executable, "program.py", place], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["well"], done.stderr


def test_commands_work_beside_packages_of_these_names(theirs: Path) -> None:
    write_recording(theirs / "one.aedat4", digit_events(0, 0), SensorSize(34, 34))  # for the decoder's process
    with Served() as served:
        assert served.client.predict(theirs / "one.aedat4").label
        served.process.terminate()
        served.finish()


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
        [sys.executable, "-c", program], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.split() == ["nmnist", str(tmp_path / "models" / "steps.py")], done.stderr
