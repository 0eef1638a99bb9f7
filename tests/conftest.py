"""Shared fixtures: where real data lies, quiet, single-threaded numerics, logs that no test leaves to the next."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from spikesight.encoders.native.build import library

os.environ.setdefault("OMP_NUM_THREADS", "1")
hypothesis.settings.register_profile("patient", deadline=None)  # the machine may be busy
hypothesis.settings.load_profile("patient")
pytest.register_assert_rewrite("tests.support")

if "PYTEST_XDIST_WORKER" not in os.environ:
    library()  # compiled once, before workers begin that would all compile it

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("SPIKESIGHT_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture
def anyio_backend() -> str:
    """Tests that are coroutines run in the loop that the service runs in."""
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
def seeded() -> None:
    """A file's networks of random weights are the same whatever ran before in this process."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """A path under the data folder (`SPIKESIGHT_DATA`, default `../shared/data`); skips the test where it is absent."""

    def find(name: str) -> Path:
        path = DATA / name
        if not path.exists():
            pytest.skip("no real data here: SPIKESIGHT_DATA names no folder that holds " + name.partition("/")[0])
        return path

    return find


@pytest.fixture(scope="session", autouse=True)
def known_to_decoders() -> Iterator[None]:
    """Processes that decode files have imported what tests call in them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
        if "spikesight.service.decoding.processes" in sys.modules:
            patch.setattr("spikesight.service.decoding.processes.PRELOAD", "tests.support.serving.warm")
        yield


@pytest.fixture(scope="session", autouse=True)
def one_name() -> Iterator[None]:
    """What a checkout's root would let in: no module of ours comes a second time, under its folder's bare name."""
    yield
    bare = ("app", "encoders", "models", "service", "training")
    twice = [name for name in bare if str(getattr(sys.modules.get(name), "__file__", "")).startswith(str(ROOT))]
    assert not twice, f"imported without `spikesight.` before: {', '.join(twice)}"


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """A service started within a test sends logs to that test's standard error: not those of later tests."""
    loggers = [logging.getLogger(name) for name in ("spikesight", "uvicorn.error")]
    before = [(logger, list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, handlers, level, propagate in before:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)
