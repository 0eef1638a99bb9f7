"""An installation, a wheel, an image, a release: nothing is left out, pinned to an index, or fetched unchecked."""

import re
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from spikesight.models.native.targets import SYSTEMS
from tests.support.processes import ROOT, script

INSTALL = script(".ci/install.py")
RELEASE = script(".ci/release.py")
NUMBER = RELEASE.version()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("ERROR: Could not find a version\nERROR: No matching distribution found for abc>=1.0 (from x)\n",
         "abc>=1.0 has no wheel"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n",
         "the disk is full"),
        ("WARNING: slow\nERROR: something else\n", "pip could not install it: something else"),
        ("", "no reason was given"),
    ],
)  # fmt: skip
def test_a_failed_installation_is_one_sentence(said: str, words: str) -> None:
    sentence = INSTALL.reason(said)
    assert words in sentence
    assert "\n" not in sentence


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


def test_the_image_has_every_dependency_in_a_version_that_is_asked_for() -> None:
    project, build = PROJECT["project"], locked("build")
    asked = [*project["dependencies"], *project["optional-dependencies"]["cluster"]]
    packages = locked("requirements", "torch", "cluster")
    for texts, versions in ((asked, packages), (PROJECT["build-system"]["requires"], build)):
        for wanted in map(Requirement, texts):
            assert wanted.specifier.contains(versions[canonicalize_name(wanted.name)]), wanted
    assert "ziglang" in build, "which compiles the kernels"


def test_the_lists_say_nothing_of_where_files_are_from() -> None:
    for path in LOCKED.iterdir():
        assert not re.search(r"://|--(extra-)?index|--find-links|-i ", path.read_text()), path.name
        assert path.name in (LOCKED.parent / "Dockerfile").read_text() or path.name == "cluster.txt"
