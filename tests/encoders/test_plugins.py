"""What installed packages add never takes the place of ours, and what does not fit is left out."""

import logging
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from spikesight.encoders import plugins
from spikesight.encoders.plugins import extend


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_extended", set())


def offered(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str]) -> list[str]:
    """Entry points by name and value; which groups were asked for."""
    asked: list[str] = []

    def entry_points(group: str) -> list[EntryPoint]:
        asked.append(group)
        return [EntryPoint(name, value, group) for name, value in points]

    monkeypatch.setattr(plugins, "entry_points", entry_points)
    return asked


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("ours", "sys:maxsize", "that name is taken"),
        ("mine", "sys:maxsize", "that name is taken"),
        ("gone", "no_such_module:thing", "ModuleNotFoundError"),
        ("gone", "sys:no_such_thing", "AttributeError"),
        ("other", "string:Template", "string:Template is a type, not a int or a str"),
        ("other", "ends_the_program:thing", "SystemExit: this plug-in wants another Python"),
    ],
)
def test_what_does_not_fit_costs_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path, name: str, value: str, says: str
) -> None:
    (tmp_path / "ends_the_program.py").write_text("import sys\n\nsys.exit('this plug-in wants another Python')\n")
    monkeypatch.syspath_prepend(tmp_path)
    offered(monkeypatch, (name, value), ("good", "sys:maxsize"))
    numbers, texts = {"ours": 1}, {"mine": "x"}
    with caplog.at_level(logging.WARNING, "spikesight"):
        extend("things", {int: numbers, str: texts})
    assert set(numbers) == {"ours", "good"}, "the others come all the same"
    assert texts == {"mine": "x"}
    (said,) = caplog.messages
    assert said.startswith(f"the plug-in {name} of an unnamed package is left out: ")
    assert says in said
