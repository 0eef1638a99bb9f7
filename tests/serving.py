"""What the tests of the service share: tiny classifiers, pictures, and a real server on a free port."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import torch
from starlette.applications import Starlette

from models.checkpoint import Card, Contract
from models.classifier import Classifier
from models.resnet import ResNetConfig, SpikingResNet
from service.api import create_app
from service.connection import Server, server
from service.settings import Settings

START_S = 180  # native kernels may have to be compiled first
LABELS = ("zero", "one", "two")
EVENT_CONTRACT = Contract("events", 2, 16, 12, 4, "binary", sensor_width=24, sensor_height=32, bin_us=10_000)
IMAGE_CONTRACT = Contract("image", 3, 16, 16, 3, "direct", mean=(0.5,) * 3, std=(0.25,) * 3)


def tiny(contract: Contract = EVENT_CONTRACT, name: str = "tiny", seed: int = 0) -> Classifier:
    """A random network with a few hundred neurons, all of whose layers spike."""
    torch.manual_seed(seed)
    config = ResNetConfig("sew", (1, 1), (4, 8), in_channels=contract.channels, classes=len(LABELS))
    network = SpikingResNet(config)
    with torch.no_grad():
        for weights in network.parameters():
            weights.mul_(2)
    return Classifier(network, Card(contract, LABELS, metrics={"accuracy": 0.5}), name)


def settings(**changes: object) -> Settings:
    """Settings for a test client, whose Host is `testserver`."""
    return Settings(**{"allowed_hosts": ("testserver",), "max_batch": 8, **changes})  # type: ignore[arg-type]


def picture(suffix: str = ".png", size: tuple[int, int] = (40, 30), seed: int = 0) -> bytes:
    """An encoded image of (width, height)."""
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    return cv2.imencode(suffix, cv2.GaussianBlur(pixels, (0, 0), 3))[1].tobytes()


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(app: Starlette | None = None, classifiers: tuple[Classifier, ...] = (), **changes: object) -> Iterator[int]:
    """A real server in a thread; its port."""
    wanted = Settings(**{"max_batch": 8, **changes})  # type: ignore[arg-type]
    app = app or create_app(wanted, classifiers or (tiny(),))
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    served: Server = server(app, wanted)
    thread = threading.Thread(target=served.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    end = time.monotonic() + START_S
    while not served.started and thread.is_alive() and time.monotonic() < end:
        time.sleep(0.01)
    assert served.started, f"the server did not start in {START_S} s"
    try:
        yield listening.getsockname()[1]
    finally:
        served.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop"
