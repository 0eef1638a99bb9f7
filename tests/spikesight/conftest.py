"""The model and the events of these tests."""

import numpy as np
import pytest
from numpy.typing import NDArray

import spikesight
from spikesight.encoders.emulator.saccades import saccades
from tests.support.inputs.samples import seven


@pytest.fixture(scope="session")
def model() -> spikesight.Model:
    return spikesight.load("nmnist")


@pytest.fixture(scope="session")
def events() -> NDArray[np.void]:
    return saccades(seven())
