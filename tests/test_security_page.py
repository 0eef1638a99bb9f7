"""docs/security.md names tests that exist."""

import re
from pathlib import Path

TESTS = Path(__file__).parent


def test_every_named_test_exists() -> None:
    page = (TESTS.parent / "docs" / "security.md").read_text()
    known = set(re.findall(r"def (test_\w+)", "".join(path.read_text() for path in TESTS.glob("test_*.py"))))
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 40
    assert named <= known, named - known
