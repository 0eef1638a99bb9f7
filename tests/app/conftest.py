"""Fixtures of the commands' tests: a command as people give it."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from spikesight.app.cli import main


class Said(NamedTuple):
    """What a command wrote on its two outputs."""

    out: str
    err: str


Ask = Callable[..., Said]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Give a command, which ends with this code: what it says."""

    def given(*words: object, code: int = 0) -> Said:
        assert main([*map(str, words)]) == code
        heard = capsys.readouterr()
        return Said(heard.out, heard.err)

    return given
