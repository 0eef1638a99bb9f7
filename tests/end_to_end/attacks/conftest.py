"""Fixtures of the attacks: the service that they are made on."""

from collections.abc import Iterator

import pytest

from tests.support.models import tiny
from tests.support.serving.http import RECEIVE_S
from tests.support.serving.servers import running


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(classifiers=(tiny(),), receive_s=RECEIVE_S, max_body=200_000, max_connections=160) as port:
        yield port
