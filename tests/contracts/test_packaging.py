"""Our five import names are plain words: prove that nobody else claims them, and that the wheel has all it needs."""

import tomllib
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from tests.support.processes import ROOT

NAMES = ["app", "encoders", "models", "service", "training"]


@pytest.mark.parametrize("name", NAMES)
def test_import_name_is_ours(name: str) -> None:
    assert set(packages_distributions().get(name, [])) <= {"spikesight"}
    assert Path(str(import_module(name).__file__)).is_relative_to(ROOT)


def test_every_ignore_pattern_of_a_folder_is_anchored() -> None:
    # An unanchored `models/` would drop the package from the wheel.
    folders = [line for line in (ROOT / ".gitignore").read_text().splitlines() if line.rstrip("/") in NAMES]
    assert not folders


def test_nothing_is_pinned_to_a_build_or_an_index() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [item for items in project["optional-dependencies"].values() for item in items]
    for requirement in [*project["dependencies"], *extras]:
        assert "==" not in requirement.partition(";")[0]
        assert "+cpu" not in requirement
        assert "@" not in requirement


def test_the_compose_file_builds_from_the_root_of_the_source_tree() -> None:
    folder = ROOT / "docs" / "service" / "deploy"
    build = yaml.safe_load((folder / "compose.yaml").read_text())["services"]["spikesight"]["build"]
    assert (folder / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()
