"""docs/service/security.md names tests that exist."""

import re

from tests.support.processes import ROOT


def test_every_named_test_exists() -> None:
    page = (ROOT / "docs" / "service" / "security.md").read_text()
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    known = set(re.findall(r"def (test_\w+)", tests))
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 40
    assert named <= known, named - known
