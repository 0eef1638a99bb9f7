"""Replicas of the service on Ray Serve, on one machine or many, behind one proxy.

Each replica is the same application on a port of its own, in a process that Ray Serve starts, watches and replaces. A
directory (a small Ray actor) knows their addresses; the proxy asks it. Replicas answer only to the proxy, by a token
that is drawn at every start.
"""

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from spikesight.service.cluster.replicas import ALIVE_S
from spikesight.service.settings import Settings

if TYPE_CHECKING:
    from ray.actor import ActorHandle

NAME = "spikesight"
FRESH_S = 30.0  # seconds after its last report until a replica is forgotten
REPORT_S = 1.0
START_S = 120.0
MISSING = "the cluster needs Ray: pip install 'spikesight[cluster]'"
FAILED = "the replicas did not start: `spikesight serve` with the same models says why"


class ClusterError(ValueError):
    """A cluster that cannot be started."""


class Directory:
    """Addresses of the live replicas by identity, with the time of each one's last report."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._there: dict[str, tuple[str, float]] = {}

    def enter(self, identity: str, url: str) -> None:
        """Record a replica's report."""
        self._there[identity] = (url, self._clock())

    def leave(self, identity: str) -> None:
        """Remove a replica that ends."""
        self._there.pop(identity, None)

    def known(self) -> dict[str, str]:
        """Return the addresses of replicas that reported within FRESH_S, by identity."""
        latest = self._clock() - FRESH_S
        self._there = {name: entry for name, entry in self._there.items() if entry[1] >= latest}
        return {name: url for name, (url, _) in self._there.items()}


class Replica:
    """One service in a Ray actor. Ray Serve calls `check_health` every second and `reconfigure` at a reload."""

    def __init__(self, values: dict[str, Any], token: str, host: str | None, directory: "ActorHandle") -> None:
        import ray
        from ray import serve

        from spikesight.models.native.memory import keep_libraries
        from spikesight.service.api import create_app
        from spikesight.service.http.server import server

        keep_libraries()
        host = host or ray.util.get_node_ip_address()
        listening = socket.socket()
        listening.bind((host, 0))
        self._url = f"http://{host}:{listening.getsockname()[1]}"
        self._identity = serve.get_replica_context().replica_id.unique_id
        self._directory = directory
        settings = Settings(**{**values, "host": host, "port": 0, "token": token})
        app = create_app(settings)
        self._runtime = app.state.runtime
        self._server = server(app, settings)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listening]}, daemon=True)
        self._thread.start()
        end = time.monotonic() + START_S
        while not self._server.started and self._thread.is_alive() and time.monotonic() < end:
            time.sleep(0.02)
        self.check_health()

    def check_health(self) -> None:
        """Report to the directory. Raises RuntimeError if the service does not run, OSError if it hangs."""
        if not (self._thread.is_alive() and self._server.started):
            raise RuntimeError("the service of this replica does not run")
        address = urlsplit(self._url)
        connection = HTTPConnection(address.hostname or "", address.port, timeout=ALIVE_S)
        with closing(connection):
            connection.request("GET", "/health/live")
            connection.getresponse()  # an answer shows that the event loop is not blocked
        self._directory.enter.remote(self._identity, self._url)

    def reconfigure(self, config: dict[str, int]) -> None:
        """Reload the models from disk, unless this is the first `generation`."""
        if config["generation"]:
            self._runtime.reload()

    def __del__(self) -> None:
        if thread := getattr(self, "_thread", None):
            self._directory.leave.remote(self._identity)
            self._runtime.draining = True
            self._server.should_exit = True
            thread.join(self._runtime.settings.drain_s)


class Cluster:
    """Replicas in the Ray cluster of RAY_ADDRESS, or in a new local one. Raises ClusterError if there can be none."""

    def __init__(self, settings: Settings, replicas: int) -> None:
        if settings.cameras:
            raise ClusterError(
                "--camera opens a device of one machine: leave --cluster out, or send its events as a stream"
            )
        if replicas < 1:
            raise ClusterError("--replicas must be 1 or more")
        self.token = secrets.token_urlsafe(32)
        key = settings.snapshot_key  # the same for all replicas, so that each can restore the others' snapshots
        self._snapshot_key = secrets.token_urlsafe(32) if key is None else key.get_secret_value()
        self._settings, self._replicas = settings, replicas
        self._generation = 0
        self._directory: Any = None
        self._local = not os.environ.get("RAY_ADDRESS")
        environment(self._local)
        try:
            import ray  # noqa: F401
            from ray import serve  # noqa: F401
        except ImportError:
            raise ClusterError(MISSING) from None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run Ray, the directory and the replicas during the `with` block. Raises ClusterError."""
        import ray
        from ray import serve

        options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
        if self._local:
            cores = max(os.cpu_count() or 1, self._replicas * (self._settings.threads or 1))
            options |= {"num_cpus": cores, "include_dashboard": False}
        ray.init(**options)
        try:
            try:
                self._start()
            except Exception as error:
                raise ClusterError(FAILED) from error
            yield
        finally:
            if self._local:
                serve.shutdown()
            else:
                serve.delete(NAME)
            ray.shutdown()

    def _start(self) -> None:
        import ray
        from ray import serve
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        made = ray.remote(Directory).options(num_cpus=0, scheduling_strategy=here)  # type: ignore[attr-defined]
        self._directory = made.remote()  # on the proxy's machine, so that no other machine's failure ends it
        serve.start(proxy_location="Disabled")
        self._deploy()

    def _deploy(self) -> None:
        from ray import serve

        threads = self._settings.threads or 1
        made = serve.deployment(Replica).options(  # type: ignore[attr-defined]
            name="replica",
            num_replicas=self._replicas,
            user_config={"generation": self._generation},
            health_check_period_s=REPORT_S,
            health_check_timeout_s=10,
            graceful_shutdown_timeout_s=self._settings.drain_s,
            ray_actor_options={"num_cpus": threads, "runtime_env": {"env_vars": {"OMP_NUM_THREADS": str(threads)}}},
        )
        host = "127.0.0.1" if self._local else None
        values = replica_values(self._settings, self._snapshot_key)
        bound = made.bind(values, self.token, host, self._directory)
        serve.run(bound, name=NAME, route_prefix=None)

    async def known(self) -> dict[str, str]:
        """Return the replicas' addresses by identity."""
        return await self._directory.known.remote()

    def reload(self) -> None:
        """Make every replica reload its models from disk."""
        self._generation += 1
        threading.Thread(target=self._deploy, daemon=True).start()


def environment(local: bool) -> None:
    """Set the variables that Ray reads when imported: no usage reports, and a token for a local cluster.

    Replicas run at normal priority: Ray would start its workers at niceness 15, behind everything else on the machine.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")
    if local and "RAY_AUTH_MODE" not in os.environ:  # Ray listens on every address of the machine
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def replica_values(settings: Settings, snapshot_key: str) -> dict[str, Any]:
    """Return the settings of a replica. Limits of single clients are off, as the proxy enforces them."""
    from spikesight.models.shipped import find  # imported here, as the directory's process needs no torch

    values = settings.model_dump(mode="json", exclude={"token", "snapshot_key", "host", "port"})
    return values | {
        "models": [str(Path(find(name)).resolve()) for name in settings.models],
        "snapshot_key": snapshot_key,
        "requests_per_s": 0,
        "max_connections_per_client": settings.max_connections,
        "max_sessions_per_client": settings.max_sessions,
        "max_sequences_per_client": settings.max_sequences,
        "allowed_origins": [],
        "insecure": False,
    }


def serve_cluster(
    settings: Settings, replicas: int, sock: socket.socket, certificate: str | None, key: str | None, greeting: str
) -> int:
    """Start the replicas and run the proxy until a signal; return the exit code. Raises ClusterError."""
    from spikesight.service.cluster.proxy import Proxy, create_proxy
    from spikesight.service.cluster.replicas import Replicas
    from spikesight.service.http.server import serve

    cluster = Cluster(settings, replicas)
    with cluster.running():
        proxy = Proxy(settings, cluster.token, Replicas(cluster.known))
        return serve(create_proxy(proxy, cluster.reload), sock, settings, certificate, key, greeting)
