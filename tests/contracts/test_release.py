"""A release: one version everywhere, a whole citation file, and wheels that are opened before they are believed."""

import zipfile
from pathlib import Path

import pytest
import yaml

from spikesight.models.native.targets import SYSTEMS
from tests.support.processes import ROOT, script

RELEASE = script(".ci/release.py")
NUMBER = RELEASE.version()


def test_one_version_everywhere() -> None:
    newest = next(line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## "))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert newest.split()[1] == NUMBER == str(citation["version"])
    assert {"cff-version", "message", "title", "authors", "license"} <= set(citation)


def wheel_of(folder: Path, head: str = "7f454c46", stray: str = "") -> Path:
    """A file that a wheel of this checkout for Linux on ARM must look like, its libraries 20 bytes long."""
    system = SYSTEMS["linux-arm64"]
    path = folder / f"spikesight-{NUMBER}-py3-none-{system.tag}.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for isa in system.isas:
            library = bytes.fromhex(head).ljust(18, b"\0") + b"\xb7\0"
            wheel.writestr(f"spikesight/models/native/prebuilt/{isa}.so", library)
        wheel.writestr(f"spikesight-{NUMBER}.dist-info/METADATA", f"Name: spikesight\nVersion: {NUMBER}\n")
        for config in ROOT.glob("models/shipped/*/config.json"):
            for file in config.parent.glob("*.*"):
                wheel.write(file, "spikesight" / file.relative_to(ROOT))
        if stray:
            wheel.writestr(stray, "")
    return path


@pytest.mark.parametrize(
    ("fault", "system"),
    [
        ({"head": "cffaedfe0c000001"}, "linux-arm64"),
        ({"stray": "tests/test_x.py"}, "linux-arm64"),
        ({"stray": "models/steps.py"}, "linux-arm64"),
        ({"stray": "spikesight/models/__pycache__/x.pyc"}, "linux-arm64"),
        ({}, "linux-x86_64"),
    ],
)
def test_a_wheel_is_compared_with_what_it_promises(fault: dict[str, str], system: str, tmp_path: Path) -> None:
    RELEASE.check_wheel(wheel_of(tmp_path), "linux-arm64", NUMBER)
    with pytest.raises(AssertionError):
        RELEASE.check_wheel(wheel_of(tmp_path, **fault), system, NUMBER)
