"""The commands of the uses that docs/quickstart.md lists, by name."""

import re
import shlex

from spikesight.app.cli import main
from tests.support.processes import ROOT

NAMES = (
    "A door counter with a webcam",
    "A switch for gestures, over MQTT",
    "A reader of digits by REST",
    "A page with no server",
    "A reader on a microcontroller",
)


def words_of(use: str) -> list[str]:
    """Its command."""
    section = (ROOT / "docs" / "quickstart.md").read_text().partition("\n## Uses\n")[2]
    commands = re.findall(r"^```sh\n(.*?)\n```", section, re.MULTILINE | re.DOTALL)[0].splitlines()
    return shlex.split(commands[NAMES.index(use)])


def run(use: str, *more: str, **instead: str) -> None:
    """Its command of ours, with other words for some."""
    first, *words = (instead.get(word, word) for word in words_of(use))
    assert first == "spikesight"
    assert main([*words, *more]) == 0
