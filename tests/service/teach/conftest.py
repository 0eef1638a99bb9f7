"""What the tests of sessions share: a service with a network to learn on, and recordings of two things."""

import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.recordings.files import write_recording
from spikesight.service.client import Client, RemoteTeaching
from spikesight.service.runtime import Runtime
from spikesight.service.teach.examples import BIN_US, STEPS
from spikesight.service.teach.sessions import TeachingSessions
from tests.support.models import IMAGE_CONTRACT, tiny
from tests.support.serving.servers import running, settings

SENSOR = SensorSize(64, 48)
SIZE = {"width": SENSOR.width, "height": SENSOR.height}
Record = Callable[[str, int], Path]


def swaying(angle: float, seed: int, windows: int, more_us: int = 0) -> Events:
    """Events of a line at an angle, for so many windows."""
    random, count = np.random.default_rng([seed, windows]), 2000 * windows
    t = np.sort(random.integers(0, windows * STEPS * BIN_US + more_us, count))
    along, thin, sway = random.uniform(-12, 12, count), random.normal(0, 0.8, count), 6 * np.sin(t / 2e5 + seed)
    x = 32 + math.cos(angle) * along - math.sin(angle) * thin + sway
    y = 24 + math.sin(angle) * along + math.cos(angle) * thin + sway / 2
    return make_events(t, x.astype(int), y.astype(int), random.random(count) < 0.5)


def moving(label: str, seed: int, windows: int = 4) -> Events:
    """Events of a line that lies or stands and sways, for so many examples' time."""
    return swaying(0.0 if label == "lying" else math.pi / 2, seed, windows, 40_000)


def taught(session: RemoteTeaching, record: Record) -> RemoteTeaching:
    for seed in range(2):
        for label in ("lying", "standing"):
            session.show(label, record(label, seed))
    return session


@asynccontextmanager
async def teaching(**changes: Any) -> AsyncIterator[tuple[Runtime, TeachingSessions]]:
    runtime = Runtime(settings(**changes), (tiny(),))
    await runtime.start()
    sessions = TeachingSessions(runtime)
    yield runtime, sessions
    sessions.close()
    await runtime.stop()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("saved")


@pytest.fixture(scope="module")
def port(saved: Path) -> Iterator[int]:
    models = (tiny(IMAGE_CONTRACT, "pixels"), tiny())
    limits: dict[str, Any] = {
        "max_examples": 30,
        "max_teaching_sessions": 3,
        "max_teaching_per_client": 2,
        "deadline_s": 120,
    }
    with running(classifiers=models, save_to=saved, **limits) as port:
        yield port


@pytest.fixture
def client(port: int) -> Client:
    return Client(f"http://127.0.0.1:{port}", timeout_s=60)


@pytest.fixture
def session(client: Client) -> Iterator[RemoteTeaching]:
    with client.teach("tiny") as session:
        yield session


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """A recording of a thing, as a file."""

    def make(label: str, seed: int) -> Path:
        path = tmp_path / f"{label}-{seed}.npz"
        write_recording(path, moving(label, seed), SENSOR, "npz")
        return path

    return make
