"""DECISIONS.md: its table of contents is complete, and the files that answer a newcomer's questions exist."""

import re

from tests.contracts.test_docs import anchor
from tests.support.processes import ROOT

TEXT = (ROOT / "DECISIONS.md").read_text()


def test_every_decision_is_in_the_contents_under_its_group() -> None:
    contents, *groups = re.split(r"^## ", TEXT, flags=re.MULTILINE)
    listed = dict(re.findall(r"^- \*\*(.+?)\*\*: (.+)$", contents, re.MULTILINE))
    assert list(listed) == [group.splitlines()[0] for group in groups]
    for group in groups:
        decisions = re.findall(r"^### (.+)$", group, re.MULTILINE)
        linked = re.findall(r"\[(.+?)\]\(#(.+?)\)", listed[group.splitlines()[0]])
        assert linked == [(name, anchor(name)) for name in decisions]


def test_the_files_of_the_ten_jobs_exist() -> None:
    section = TEXT.partition("### Ten jobs and their files")[2].partition("\n### ")[0]
    files = re.findall(r"^\| [^|]+ \| `([^`]+)` \|$", section, re.MULTILINE)
    assert len(files) == 10
    assert not [file for file in files if not (ROOT / file).is_file()]


def test_a_decision_is_five_lines_and_its_table() -> None:
    for entry in re.split(r"^### ", TEXT, flags=re.MULTILINE)[1:]:
        title, *lines = entry.partition("\n## ")[0].splitlines()
        said = [line for line in lines if line.strip() and not line.startswith("|")]
        assert len(said) <= 5, title
