"""What is tried on other data takes no reported result's place."""

import sys
from pathlib import Path

import pytest

from benchmarks.real_input import __main__ as module


@pytest.mark.parametrize(
    ("words", "kept"), [([], [None]), (["--tuning"], []), (["--tuning", "--json", "a.json"], [Path("a.json")])]
)
def test_a_trial_is_kept_where_it_is_told_to(
    words: list[str], kept: list[Path | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path | None] = []
    monkeypatch.setattr(sys, "argv", ["real_input", "--only", "near", *words])
    monkeypatch.setattr(module, "read_idx", lambda _: None)
    monkeypatch.setattr(module, "rows_of_near", lambda *_: None)
    monkeypatch.setattr(module.report, "write", lambda _, file: written.append(file))
    module.main()
    assert written == kept
