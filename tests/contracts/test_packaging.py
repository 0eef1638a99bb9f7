"""A wheel and its names, a foreign package of plug-ins, an image, a release: nothing is left out or unchecked."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import write_recording
from tests.contracts.test_docs import NEEDS, blocks
from tests.support.inputs.data_sets import digit_events, write_nmnist
from tests.support.processes import ROOT, script
from tests.support.serving.servers import Served

RELEASE = script(".ci/release.py")
NUMBER = RELEASE.version()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_one_version_everywhere() -> None:
    newest = next(line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## "))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert newest.split()[1] == NUMBER == str(citation["version"])
    assert {"cff-version", "message", "title", "authors", "license"} <= set(citation)


def test_nothing_is_pinned_to_a_build_or_an_index() -> None:
    extras = [item for items in PROJECT["project"]["optional-dependencies"].values() for item in items]
    for requirement in [*PROJECT["project"]["dependencies"], *extras]:
        assert not re.search(r"==|\+cpu|@", requirement.partition(";")[0])


def test_the_compose_file_builds_from_the_root_of_the_source_tree() -> None:
    folder = ROOT / "docs" / "service" / "deploy"
    build = yaml.safe_load((folder / "compose.yaml").read_text())["services"]["spikesight"]["build"]
    assert (folder / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()


LOCKED = ROOT / "docs" / "service" / "deploy" / "locked"
ENTRY = re.compile(
    r"^([a-z0-9-]+)(?:\[[a-z,-]+\])?==(\S+)[^\n]*((?:\n +--hash=sha256:[0-9a-f]{64}(?: \\)?)*)$", re.MULTILINE
)


def locked(*names: str) -> dict[str, str]:
    """The version of every package in these lists, each with the hash of a file at least."""
    found: dict[str, str] = {}
    for name in names:
        text = (LOCKED / f"{name}.txt").read_text()
        entries = ENTRY.findall(text)
        assert len(entries) == len(re.findall(r"^[^#\s]", text, re.MULTILINE)), "every line is a package or its hash"
        assert all("sha256" in hashes for _, _, hashes in entries)
        found |= {package: version for package, version, _ in entries}
    return found


IMAGE_PYTHON = "3.13"  # Debian 13's


def test_the_image_has_every_dependency_in_a_version_that_is_asked_for() -> None:
    project, build = PROJECT["project"], locked("build")
    asked = [*project["dependencies"], *project["optional-dependencies"]["cluster"]]
    packages = locked("requirements", "torch", "cluster")
    for texts, versions in ((asked, packages), (PROJECT["build-system"]["requires"], build)):
        for wanted in map(Requirement, texts):
            if wanted.marker is not None and not wanted.marker.evaluate({"python_version": IMAGE_PYTHON}):
                continue
            assert wanted.specifier.contains(versions[canonicalize_name(wanted.name)]), wanted
    assert "ziglang" in build, "which compiles the kernels"


def test_the_lists_say_nothing_of_where_files_are_from() -> None:
    for path in LOCKED.iterdir():
        assert not re.search(r"://|--(extra-)?index|--find-links|-i ", path.read_text()), path.name
        assert path.name in (LOCKED.parent / "Dockerfile").read_text() or path.name == "cluster.txt"


FOLDERS = ["app", "encoders", "models", "service", "training"]


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
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def place(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `spikesight` comes from; every other test takes it from the checkout."""
    return unpacked(wheel, tmp_path_factory.mktemp("unpacked"))


@pytest.fixture
def theirs(tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that programs are started in, with packages of its own under all five names."""
    for name in FOLDERS:
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
    assert not {{{{*{FOLDERS}}}}} & {{{{*sys.modules}}}}, "imported under a name that is not ours"
    import app, encoders, models, service, training
    assert all(one.THEIRS for one in (app, encoders, models, service, training))
    print("well")
"""


def test_python_training_and_a_service_work_beside_packages_of_these_names(theirs: Path, place: Path) -> None:
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
    command = ["git", "ls-files", "-co", "--exclude-standard", "spikesight", *FOLDERS]
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


PACKAGE = ROOT / "tests" / "support" / "plugin_package"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """PYTHONPATH with the package installed, from its source, without a network."""
    pytest.importorskip("setuptools", reason="setuptools builds the sample package: pip install 'spikesight[dev]'")
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(PACKAGE, folder / "source")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-index", "--no-deps"]
    target = folder / "site"
    pip += ["--no-build-isolation", "--target", str(target), str(folder / "source")]
    done = subprocess.run(pip, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return os.pathsep.join([str(target), str(ROOT)])


USE = """
from pathlib import Path
import numpy as np, torch
from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.recordings.files import read_recording, write_recording
from spikesight.encoders.sources.source import open_source
from spikesight.models.checkpoint import load, save
from spikesight.models.contract import Card, Contract
from spikesight.training.config import TrainConfig
from spikesight.training.data import list_data
from spikesight.training.network import build_network

import sys
assert "blinking_lights" not in sys.modules, "loaded before it is needed"
for label, x in (("left", 2), ("right", 13)):
    Path("corners", label).mkdir(parents=True)
    for n in range(4):
        t = np.arange(50) * 1000 + n
        events = make_events(t, np.full(50, x), np.full(50, 8), t % 2 == 0)
        write_recording(Path("corners", label, f"{n}.lights"), events, SensorSize(16, 16))
read = read_recording("corners/left/0.lights")
assert (read.format, len(read.events)) == ("lights", 50)
listing = list_data(TrainConfig(data="corners", root="."))
assert (listing.labels, len(listing.train)) == (("left", "right"), 8)
with open_source("lights:") as source:
    assert sum(len(packet) for packet in source.packets() if packet is not None) == 3
assert sum(p.numel() for p in build_network(TrainConfig(network="lights-tiny"), 2).parameters())
from blinking_lights import Mlp, MlpConfig
contract = Contract("events", 2, 16, 16, 4, "binary", 16, 16, 5_000)
torch.manual_seed(0)
save("mlp", Mlp(MlpConfig(512)), Card(contract, ("left", "right")))
from spikesight.service.sinks.delivery import open_deliveries
(delivery,) = open_deliveries(["bell:rung"])
delivery.post({"label": "left"})
delivery.close()
assert Path("rung").read_text() == "."
from spikesight.app.cli import main
assert main(["models"]) == 0
print("used")
"""
SERVE = """
from pathlib import Path
from fastapi.testclient import TestClient
from spikesight.service.api import create_app
from spikesight.service.settings import Settings
with TestClient(create_app(Settings(models=("mlp",), deadline_s=60)), "http://127.0.0.1") as client:
    answer = client.post("/v1/predict", content=Path("corners/left/0.lights").read_bytes())
    refused = client.post("/v1/predict", content=b"BLINKING")
print(answer.text)
assert answer.json()["n_events"] == 50
assert (refused.status_code, "lights" in refused.json()["error"]) == (415, True)
"""


def test_a_foreign_package_adds_one_of_each_without_a_fork(path: str, tmp_path: Path) -> None:
    def run(code: str) -> subprocess.CompletedProcess[str]:
        command, env = [sys.executable, "-c", code], {**os.environ, "PYTHONPATH": path}
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)

    used = run(USE)
    *networks, last = used.stdout.splitlines() or [""]
    assert last == "used", used.stderr
    assert [line for line in networks if line.startswith("lights-tiny ")], "the names of networks are listed"
    warned = [line for line in used.stderr.splitlines() if "plug-in" in line]
    assert len(warned) == 3
    assert all("of blinking-lights 1.2 is left out: " in line for line in warned)
    served = run(SERVE)  # a new process: the checkpoint's kind alone leads to the package
    assert served.returncode == 0, served.stdout + served.stderr
