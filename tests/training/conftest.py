"""Fixtures of training's tests: a small generated N-MNIST."""

from pathlib import Path

import pytest

from tests.support.inputs.data_sets import write_nmnist


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nmnist(tmp_path_factory.mktemp("nmnist"))
