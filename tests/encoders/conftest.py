"""Fixtures of the encoders' tests."""

import pytest

from tests.support.oracles.events import by_oracles


@pytest.fixture(params=["compiled", "oracle"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiled loops, then their slow twins: what a test says holds for both."""
    if request.param == "oracle":
        by_oracles(monkeypatch)
