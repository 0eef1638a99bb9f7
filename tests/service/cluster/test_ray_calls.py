"""What Ray is asked for, by a Ray that only writes it down."""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from spikesight.service.cluster import ray_serve as module
from spikesight.service.cluster.ray_serve import Cluster, ClusterError, Directory, Replica, environment
from spikesight.service.settings import Settings

KEYS = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_USAGE_STATS_ENABLED", "RAY_worker_niceness")


class FakeRay:
    """The few names of `ray` and `ray.serve` that are used; what each was called with is kept."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.fails = False

    def note(self, what: str, /, **given: Any) -> None:
        self.calls.append((what, given))

    def modules(self) -> dict[str, ModuleType]:
        ray, serve, util, strategies = (ModuleType(n) for n in ("ray", "ray.serve", "ray.util", "strategies"))
        ray.init = lambda **given: self.note("init", **given)  # type: ignore[attr-defined]
        ray.shutdown = lambda: self.note("shutdown")  # type: ignore[attr-defined]
        context = SimpleNamespace(get_node_id=lambda: "here")
        ray.get_runtime_context = lambda: context  # type: ignore[attr-defined]
        ray.remote, ray.serve, ray.util = self.remote, serve, util  # type: ignore[attr-defined]
        serve.start = lambda **given: self.note("serve.start", **given)  # type: ignore[attr-defined]
        serve.shutdown = lambda: self.note("serve.shutdown")  # type: ignore[attr-defined]
        serve.delete = lambda name: self.note("serve.delete", name=name)  # type: ignore[attr-defined]
        serve.deployment, serve.run = self.deployment, self.run  # type: ignore[attr-defined]
        util.scheduling_strategies = strategies  # type: ignore[attr-defined]
        strategies.NodeAffinitySchedulingStrategy = lambda node, soft: (node, soft)  # type: ignore[attr-defined]
        return {"ray": ray, "ray.serve": serve, "ray.util": util, "ray.util.scheduling_strategies": strategies}

    def remote(self, kind: type) -> Any:
        assert kind is Directory

        def options(**given: Any) -> Any:
            self.note("directory", **given)
            return SimpleNamespace(remote=lambda: "the directory")

        return SimpleNamespace(options=options)

    def deployment(self, kind: type) -> Any:
        assert kind is Replica

        def options(**given: Any) -> Any:
            self.note("options", **given)
            return SimpleNamespace(bind=lambda *given: given)

        return SimpleNamespace(options=options)

    def run(self, bound: tuple[Any, ...], **given: Any) -> None:
        if self.fails:
            raise RuntimeError("no room")
        self.note("run", bound=bound, **given)

    def said(self, name: str) -> dict[str, Any]:
        return next(given for one, given in reversed(self.calls) if one == name)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRay]:
    for key in KEYS:
        monkeypatch.delenv(key, raising=False)
    fake = FakeRay()
    for name, made in fake.modules().items():
        monkeypatch.setitem(sys.modules, name, made)
    yield fake
    for key in KEYS:
        os.environ.pop(key, None)


def test_an_own_cluster_has_its_cores_and_ends_with_the_service(ray: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    settings = Settings(models=("nmnist",), threads=3, drain_s=7)
    with Cluster(settings, 2) as cluster:
        assert ray.said("init")["num_cpus"] == 2 * 3
        options = ray.said("options")
        assert (options["num_replicas"], options["graceful_shutdown_timeout_s"]) == (2, settings.drain_s)
        assert options["ray_actor_options"]["num_cpus"] == settings.threads
        run = ray.said("run")
        values, token, host, directory = run["bound"]
        assert (token, host, directory) == (cluster.token, "127.0.0.1", "the directory")
        assert len(token) > 40
        assert len(values["snapshot_key"]) > 40
        assert "shutdown" not in [name for name, _ in ray.calls]
    assert [name for name, _ in ray.calls[-2:]] == ["serve.shutdown", "shutdown"]


def test_in_somebody_elses_cluster_only_ours_ends(ray: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    key = "0123456789abcdef0123456789abcdef"
    with Cluster(Settings(models=("nmnist",), snapshot_key=key), 1):  # type: ignore[arg-type]
        assert "num_cpus" not in ray.said("init")
        values, _, host, _ = ray.said("run")["bound"]
        assert (values["snapshot_key"], host) == (key, None)
        assert "RAY_AUTH_TOKEN" not in os.environ
    assert [name for name, _ in ray.calls[-2:]] == ["serve.delete", "shutdown"]
    assert ray.said("serve.delete") == {"name": "spikesight"}


def test_a_start_that_fails_leaves_nothing_behind(ray: FakeRay) -> None:
    ray.fails = True
    with pytest.raises(ClusterError, match="the replicas did not start"), Cluster(Settings(models=("nmnist",)), 1):
        pass
    assert [name for name, _ in ray.calls[-2:]] == ["serve.shutdown", "shutdown"]


def test_each_reload_is_another_generation(ray: FakeRay) -> None:
    with Cluster(Settings(models=("nmnist",)), 1) as cluster:
        for generation in (1, 2):
            cluster.reload()
            for thread in threading.enumerate():
                if thread is not threading.current_thread() and thread.daemon and "_deploy" in thread.name:
                    thread.join(10)
            assert ray.said("options")["user_config"] == {"generation": generation}


def test_what_ray_reads_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in KEYS:
        monkeypatch.delenv(key, raising=False)
    environment(False)
    assert {key: os.environ.get(key) for key in KEYS[1:]} == {
        "RAY_AUTH_MODE": None, "RAY_AUTH_TOKEN": None, "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0",
    }  # fmt: skip
    environment(True)
    token = os.environ["RAY_AUTH_TOKEN"]
    assert (os.environ["RAY_AUTH_MODE"], len(token)) == ("token", 64)
    environment(True)
    assert os.environ["RAY_AUTH_TOKEN"] == token
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    environment(False)
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "1", "the user's own wish stays"


class Told:
    """A directory's handle: calls are noted."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.enter = SimpleNamespace(remote=lambda *given: self.calls.append(("enter", *given)))
        self.leave = SimpleNamespace(remote=lambda *given: self.calls.append(("leave", *given)))


class Health(BaseHTTPRequestHandler):
    """A service that says that it lives."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health/live" else 404)
        self.end_headers()

    def log_message(self, format: str, *_: object) -> None:
        pass


def answering(listening: socket.socket, times: int) -> threading.Thread:
    """A service on that socket which answers so often."""
    made = HTTPServer(("127.0.0.1", 0), Health, bind_and_activate=False)
    made.socket.close()
    made.socket, made.server_name = listening, "here"

    def run() -> None:
        for _ in range(times):
            made.handle_request()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def replica(*, alive: bool = True, started: bool = True, url: str = "http://x") -> tuple[Any, Told, list[object]]:
    """A replica without a service behind it."""
    made, told, done = Replica.__new__(Replica), Told(), list[object]()
    runtime = SimpleNamespace(reload=lambda: done.append("reload"), draining=False, settings=SimpleNamespace(drain_s=4))
    made._identity, made._url, made._directory = "r1", url, told  # type: ignore[assignment]
    made._runtime, made._server = runtime, SimpleNamespace(started=started, should_exit=False)  # type: ignore[assignment]
    made._thread = SimpleNamespace(is_alive=lambda: alive, join=done.append)  # type: ignore[assignment]
    return made, told, done


def test_a_replica_reports_while_it_answers_loads_when_told_and_leaves_at_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        made, told, done = replica(url=url)
        service = answering(listening, 1)
        made.check_health()
        service.join(10)
        assert told.calls == [("enter", "r1", url)]
        monkeypatch.setattr(module, "ALIVE_S", 0.1)
        with pytest.raises(TimeoutError):
            made.check_health()  # nobody answers
        assert len(told.calls) == 1
    made.reconfigure({"generation": 0})
    assert done == []
    made.reconfigure({"generation": 1})
    assert done == ["reload"]
    made.__del__()
    assert told.calls[-1] == ("leave", "r1")
    assert (made._runtime.draining, made._server.should_exit, done[-1]) == (True, True, 4)
    for alive, started in ((False, True), (True, False)):
        broken, told, _ = replica(alive=alive, started=started)
        with pytest.raises(RuntimeError, match="does not run"):
            broken.check_health()
        assert told.calls == []
    Replica.__new__(Replica).__del__()  # one that never began
