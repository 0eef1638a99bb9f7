"""N replicas of the service on Ray Serve, on one machine or many: `spikesight serve --cluster --replicas N`.

Every replica is the whole application with its own checks. Clients reach it through Ray's proxy, which balances the
load and leaves out replicas that fail Ray's health checks. Nothing of ours stands between. A stream lives in one
replica: when that is lost, the client connects again. Replicas refuse teaching and cameras: these need one process.
"""

import os
import secrets
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from fastapi import FastAPI

from spikesight.service.settings import Settings

NAME = "spikesight"
CHECK_S, HUNG_S = (
    1.0,
    5.0,
)  # Ray asks a replica so often whether it lives, and replaces it without an answer for so long
MISSING = "the cluster needs Ray: pip install 'spikesight[cluster]'"
FAILED = "the replicas did not start: `spikesight serve` with the same models says why"


class ClusterError(ValueError):
    """A cluster that cannot be started."""


class Replica:
    """What Ray Serve calls in a replica, beside the application that `serve.ingress` adds as `app`."""

    app: FastAPI

    async def check_health(self) -> None:
        """Answer from the application's event loop: a replica whose loop is blocked is replaced."""


class Cluster:
    """Replicas in the Ray cluster of RAY_ADDRESS, or in a new local one. Raises ClusterError if there can be none."""

    def __init__(self, settings: Settings, replicas: int) -> None:
        if settings.cameras:
            raise ClusterError(
                "--camera opens a device of one machine: leave --cluster out, or send its events as a stream"
            )
        if replicas < 1:
            raise ClusterError("--replicas must be 1 or more")
        self.settings, self.replicas = settings, replicas
        self.local = not os.environ.get("RAY_ADDRESS")
        environment(self.local)
        try:
            import ray  # noqa: F401
            from ray import serve  # noqa: F401
        except ImportError:
            raise ClusterError(MISSING) from None

    @contextmanager
    def running(self, host: str, port: int) -> Iterator[None]:
        """Run Ray, its proxy at this address, and the replicas, during the `with` block. Raises ClusterError."""
        import ray
        from ray import serve

        options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
        if self.local:
            cores = max(os.cpu_count() or 1, self.replicas * (self.settings.threads or 1))
            options |= {"num_cpus": cores, "include_dashboard": False}
        ray.init(**options)
        try:
            try:
                serve.start(http_options={"host": host, "port": port})
                self.deploy()
            except Exception as error:
                raise ClusterError(FAILED) from error
            yield
        finally:
            if self.local:
                serve.shutdown()
            else:
                serve.delete(NAME)
            ray.shutdown()

    def deploy(self) -> None:
        """Start the replicas."""
        from ray import serve

        threads = self.settings.threads or 1
        made = serve.deployment(serve.ingress(builder(self.settings))(Replica)).options(  # type: ignore[attr-defined]
            name="replica",
            num_replicas=self.replicas,
            max_ongoing_requests=self.settings.max_connections,  # the service's own limits refuse what is too much
            health_check_period_s=CHECK_S,
            health_check_timeout_s=HUNG_S,
            graceful_shutdown_timeout_s=self.settings.drain_s,
            ray_actor_options={"num_cpus": threads, "runtime_env": {"env_vars": {"OMP_NUM_THREADS": str(threads)}}},
        )
        serve.run(made.bind(), name=NAME, route_prefix="/")


def builder(settings: Settings) -> Any:
    """Return a function without arguments that builds the application in a replica's process."""
    from spikesight.models.shipped import find

    models = tuple(str(Path(find(name)).resolve()) for name in settings.models)
    values = settings.model_copy(update={"models": models})

    def build() -> FastAPI:
        from spikesight.models.native.memory import keep_libraries
        from spikesight.service.api import create_app
        from spikesight.service.http.logs import configure

        keep_libraries()
        configure(values.log_format)
        return create_app(values, replica=True)

    return build


def environment(local: bool) -> None:
    """Set the variables that Ray reads when imported: no usage reports, and a token for a local cluster.

    Replicas run at normal priority: Ray would start its workers at niceness 15, behind everything else on the machine.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")
    if local and "RAY_AUTH_MODE" not in os.environ:  # Ray listens on every address of the machine
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def serve_cluster(settings: Settings, replicas: int, sock: socket.socket, greeting: str) -> int:
    """Serve from replicas until SIGINT or SIGTERM; return the exit code. Raises ClusterError.

    The socket only reserves the address until Ray's proxy takes it.
    """
    cluster, signals = Cluster(settings, replicas), SimpleQueue[int]()
    host, port = sock.getsockname()[:2]
    sock.close()
    with cluster.running(host, port):
        for number in (signal.SIGINT, signal.SIGTERM):  # Ray has put its own in their place
            signal.signal(number, lambda number, _: signals.put(number))
        print(greeting, flush=True)
        signals.get()
    return 0
