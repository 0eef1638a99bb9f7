"""What Ray is asked for, by a Ray that only writes it down; the directory, a replica's settings, and the ways out."""

import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from pydantic import SecretStr

from spikesight.service.cluster import ray_serve as module
from spikesight.service.cluster.ray_serve import FRESH_S, Cluster, ClusterError, Directory, Replica, replica_values
from spikesight.service.settings import Settings
from tests.support.models import kept

KEYS = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_USAGE_STATS_ENABLED", "RAY_worker_niceness")
SETTINGS = Settings(models=("nmnist",), threads=3, drain_s=7)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[MagicMock]:
    for key in KEYS:
        monkeypatch.delenv(key, raising=False)
    fake = MagicMock()
    names = {"ray": fake, "ray.serve": fake.serve, "ray.util": fake.util}
    for name, made in {**names, "ray.util.scheduling_strategies": fake.util.scheduling_strategies}.items():
        monkeypatch.setitem(sys.modules, name, made)
    yield fake
    for key in KEYS:
        os.environ.pop(key, None)


def options(ray: MagicMock) -> dict[str, Any]:
    return ray.serve.deployment.return_value.options.call_args.kwargs


def last_calls(ray: MagicMock) -> list[str]:
    return [name for name, _, _ in ray.mock_calls[-2:]]


@pytest.mark.parametrize("address", [None, "ray://head:10001"], ids=["our own", "somebody else's"])
def test_a_cluster_of_our_own_has_its_cores_and_ends_with_us_and_of_anothers_ours_alone(
    address: str | None, ray: MagicMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    if address:
        monkeypatch.setenv("RAY_ADDRESS", address)
    settings = SETTINGS.model_copy(update={"snapshot_key": SecretStr("k" * 32)} if address else {})
    cluster = Cluster(settings, 2)
    with cluster.running():
        assert ray.init.call_args.kwargs.get("num_cpus") == (None if address else 2 * 3)
        asked = options(ray)
        assert (asked["num_replicas"], asked["graceful_shutdown_timeout_s"]) == (2, SETTINGS.drain_s)
        assert asked["ray_actor_options"]["num_cpus"] == SETTINGS.threads
        values, token, host, directory = ray.serve.deployment.return_value.options.return_value.bind.call_args.args
        assert (token, host) == (cluster.token, None if address else "127.0.0.1")
        assert directory is ray.remote.return_value.options.return_value.remote.return_value
        assert (ray.remote.call_args.args, ray.serve.deployment.call_args.args) == ((Directory,), (Replica,))
        assert len(token) > 40
        assert values["snapshot_key"] == "k" * 32 if address else len(values["snapshot_key"]) > 40
        assert ("RAY_AUTH_TOKEN" in os.environ) == (address is None)
        assert not ray.shutdown.called
    assert last_calls(ray) == ["serve.delete" if address else "serve.shutdown", "shutdown"]
    assert not address or ray.serve.delete.call_args.args == ("spikesight",)


def test_a_start_that_fails_leaves_nothing_behind(ray: MagicMock) -> None:
    ray.serve.run.side_effect = RuntimeError("no room")
    with pytest.raises(ClusterError, match="the replicas did not start"), Cluster(SETTINGS, 1).running():
        pass
    assert last_calls(ray) == ["serve.shutdown", "shutdown"]


class Health(BaseHTTPRequestHandler):
    """A service that says that it lives."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health/live" else 404)
        self.end_headers()

    def log_message(self, format: str, *_: object) -> None:
        pass


def replica(url: str = "http://x", *, alive: bool = True, started: bool = True) -> Any:
    """A replica whose service, runtime and directory only write down what they are asked."""
    made: Any = Replica.__new__(Replica)
    made._identity, made._url, made._directory = "r1", url, MagicMock()
    made._runtime, made._server, made._thread = MagicMock(draining=False), MagicMock(), MagicMock()
    made._thread.is_alive.return_value, made._server.started = alive, started
    return made


def test_a_replica_reports_while_it_answers_loads_when_told_and_leaves_at_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with HTTPServer(("127.0.0.1", 0), Health) as service:
        made = replica(f"http://127.0.0.1:{service.server_port}")
        answering = threading.Thread(target=service.handle_request, daemon=True)
        answering.start()
        made.check_health()
        answering.join(10)
        made._directory.enter.remote.assert_called_once_with("r1", made._url)
        monkeypatch.setattr(module, "ALIVE_S", 0.1)
        with pytest.raises(TimeoutError):
            made.check_health()  # nobody answers
    for generation, times in ((0, 0), (1, 1)):
        made.reconfigure({"generation": generation})
        assert made._runtime.reload.call_count == times
    made.__del__()
    made._directory.leave.remote.assert_called_once_with("r1")
    assert made._runtime.draining is made._server.should_exit is True
    made._thread.join.assert_called_once_with(made._runtime.settings.drain_s)
    assert made._directory.enter.remote.call_count == 1
    for broken in (replica(alive=False), replica(started=False)):
        with pytest.raises(RuntimeError, match="does not run"):
            broken.check_health()
        assert not broken._directory.enter.remote.called
    Replica.__new__(Replica).__del__()  # one that never began


def test_the_directory_forgets_the_silent() -> None:
    now = [0.0]
    directory = Directory(lambda: now[0])
    directory.enter("a", "http://x")
    now[0] = FRESH_S / 2
    directory.enter("b", "http://y")
    assert directory.known() == {"a": "http://x", "b": "http://y"}
    now[0] = FRESH_S + 1
    assert directory.known() == {"b": "http://y"}
    directory.leave("b")
    assert directory.known() == {}


def test_a_replica_leaves_the_limits_of_clients_to_the_front(tmp_path: Path) -> None:
    folder = str(kept(tmp_path / "mine"))
    settings = Settings(token="t" * 20, models=(folder,), requests_per_s=5, max_queue=7)  # type: ignore[arg-type]
    values = replica_values(settings, "a-key-of-all-replicas")
    assert "token" not in values
    again = Settings(**values)
    assert (again.requests_per_s, again.max_queue, again.models) == (0, 7, (folder,))
    assert again.snapshot_key is not None
    assert again.snapshot_key.get_secret_value() == "a-key-of-all-replicas"
    assert again.max_connections_per_client == again.max_connections
