"""Fixtures of the recordings' tests."""

import pytest


@pytest.fixture(params=["numba", "numpy"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "numpy":
        monkeypatch.setattr("encoders.kernels.compiled", lambda _: None)
