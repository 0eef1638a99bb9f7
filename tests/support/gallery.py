"""The gallery's commands, as docs/gallery.md has them."""

import re
import shlex

from spikesight.app.cli import main
from tests.support.processes import ROOT

GALLERY = ROOT / "docs" / "gallery.md"
_OURS = GALLERY.read_text().partition("\n## At home in other programs\n")[0]
USES = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", _OURS, re.MULTILINE | re.DOTALL))


def words_of(use: str) -> list[str]:
    """Its command."""
    (command,) = re.findall(r"^```sh\n(.*?)\n```", USES[use], re.MULTILINE | re.DOTALL)
    return shlex.split(command)


def run(use: str, *more: str, **instead: str) -> None:
    """Its command of ours, with other words for some."""
    first, *words = (instead.get(word, word) for word in words_of(use))
    assert first == "spikesight"
    assert main([*words, *more]) == 0
