"""What a wheel and an image are made of: nothing is left out, pinned to an index, or fetched unchecked."""

import re
import tomllib

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.processes import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


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
