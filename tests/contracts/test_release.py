"""A release: one version everywhere, a whole citation file, and wheels that are opened before they are believed."""

import importlib.util
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from spikesight.models.native.targets import SYSTEMS
from tests.support.processes import ROOT


@pytest.fixture(scope="module")
def release() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release", ROOT / ".ci" / "release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_version_everywhere(release: ModuleType) -> None:
    number = release.version()
    newest = next(line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## "))
    assert newest.split()[1] == number
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "license"} <= set(citation)
    assert str(citation["version"]) == number


def wheel_of(folder: Path, release: ModuleType, system: str, *, head: str = "7f454c46", stray: str = "") -> Path:
    """A file that a wheel of this checkout must look like, its libraries 20 bytes long."""
    number = release.version()
    path = folder / f"spikesight-{number}-py3-none-{SYSTEMS[system].tag}.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for isa in SYSTEMS[system].isas:
            wheel.writestr(
                f"spikesight/models/native/prebuilt/{isa}.so", bytes.fromhex(head).ljust(18, b"\0") + b"\xb7\0"
            )
        wheel.writestr(f"spikesight-{number}.dist-info/METADATA", f"Name: spikesight\nVersion: {number}\n")
        for file in ROOT.glob("models/shipped/*/*.*"):
            wheel.write(file, "spikesight" / file.relative_to(ROOT))
        if stray:
            wheel.writestr(stray, "")
    return path


def test_a_wheel_is_compared_with_what_it_promises(release: ModuleType, tmp_path: Path) -> None:
    number = release.version()
    release.check_wheel(wheel_of(tmp_path, release, "linux-arm64"), "linux-arm64", number)
    for fault in (
        {"head": "cffaedfe0c000001"},
        {"stray": "tests/test_x.py"},
        {"stray": "models/steps.py"},
        {"stray": "spikesight/models/__pycache__/x.pyc"},
    ):
        with pytest.raises(AssertionError):
            release.check_wheel(wheel_of(tmp_path, release, "linux-arm64", **fault), "linux-arm64", number)
    with pytest.raises(AssertionError):
        release.check_wheel(wheel_of(tmp_path, release, "linux-arm64"), "linux-x86_64", number)
