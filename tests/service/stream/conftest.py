"""Fixtures of the streams' tests: a service on a port, and its client."""

from collections.abc import Iterator

import pytest

from spikesight.service.client import Client
from tests.support.models import IMAGE_CONTRACT, tiny
from tests.support.serving.servers import running


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(classifiers=(tiny(), tiny(IMAGE_CONTRACT, "pixels")), max_pending=16) as port:
        yield port


@pytest.fixture
def client(port: int) -> Client:
    return Client(f"http://127.0.0.1:{port}")
