"""The server's orderly end."""

import asyncio
import signal
import socket
from typing import Any

import pytest

from spikesight.service.api import create_app
from spikesight.service.http import server as module
from spikesight.service.http.server import Server, serve, server
from spikesight.service.settings import Settings
from tests.support.models import tiny
from tests.support.serving.servers import limited


def made(grace_s: float = 0.5) -> tuple[Server, Any]:
    """A server that does not run, and its runtime."""
    settings = limited(grace_s=grace_s)
    app = create_app(settings, (tiny(),))
    return server(app, settings), app.state.runtime


def test_a_balancers_signal_is_a_moment_of_503_and_a_second_one_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [50.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    served, runtime = made()
    assert not served.config.proxy_headers, "whom to believe is for the gate to say"
    assert not asyncio.run(served.on_tick(1))
    served.handle_exit(signal.SIGTERM, None)
    assert (runtime.draining, served.should_exit) == (True, False)
    assert not asyncio.run(served.on_tick(1))
    for later_s, ended in ((0.4, False), (0.1, True)):
        now[0] += later_s
        assert asyncio.run(served.on_tick(1)) == ended
    served.handle_exit(signal.SIGTERM, None)
    assert served.should_exit


@pytest.mark.parametrize(("number", "grace_s"), [(signal.SIGINT, 0.5), (signal.SIGTERM, 0.0)])
def test_ctrl_c_and_a_service_without_grace_end_at_once(number: int, grace_s: float) -> None:
    served, runtime = made(grace_s)
    served.handle_exit(number, None)
    assert (runtime.draining, served.should_exit) == (True, True)
    assert asyncio.run(served.on_tick(1))


@pytest.mark.parametrize("started", [True, False])
def test_a_service_that_never_began_ends_with_1(started: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "run", lambda self, sockets: setattr(self, "started", started))  # noqa: ARG005
    settings = Settings()
    with socket.socket() as listening:
        assert serve(create_app(settings, (tiny(),)), listening, settings, "") == (0 if started else 1)
