"""A proxy and what is behind it: services that can be killed or stopped, and ports that never answer."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from spikesight.models.classifier import Classifier
from spikesight.service.api import create_app
from spikesight.service.client import Client
from spikesight.service.cluster.proxy import Proxy, create_proxy
from spikesight.service.cluster.replicas import Replicas
from spikesight.service.http.server import Server, server
from spikesight.service.settings import Settings
from tests.support.models import tiny
from tests.support.serving.servers import running
from tests.support.waiting import PATIENCE_S, until

INNER, OUTER = "inner-token-of-the-replicas", "outer-token-of-the-clients"
KEY = "snapshot-key-of-the-replicas"


class Behind:
    """A service in a thread that can end like a killed process, or stop like one that SIGSTOP holds."""

    def __init__(self, classifier: Classifier | None = None, **changes: object) -> None:
        wanted = Settings(**{"max_batch": 8, "token": INNER, "snapshot_key": KEY, **changes})  # type: ignore[arg-type]
        app = create_app(wanted, () if wanted.models else (classifier or tiny(),))
        self._listening, self._go_on = socket.socket(), threading.Event()
        self._listening.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._server: Server = server(app, wanted)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listening]}, daemon=True)
        self._thread.start()
        until(lambda: self._server.started)

    def _in_loop(self, call: Callable[[], object]) -> None:
        self._server.servers[0].get_loop().call_soon_threadsafe(call)

    def kill(self) -> None:
        """Cut every connection, with no goodbye, and listen no more."""

        def cut() -> None:
            for listener in self._server.servers:
                listener.close()
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()

        self._in_loop(cut)
        until(self._closed)

    def _closed(self) -> bool:
        with socket.socket() as probe:
            return bool(probe.connect_ex(("127.0.0.1", int(self.url.rpartition(":")[2]))))

    def hang(self) -> None:
        """Hold its event loop until `go_on`: its sockets stay open."""
        held = threading.Event()
        self._in_loop(lambda: held.set() or self._go_on.wait(PATIENCE_S))
        assert held.wait(PATIENCE_S)

    def go_on(self) -> None:
        self._go_on.set()

    def stop(self) -> None:
        self.go_on()
        self._server.should_exit = True
        self._thread.join(20)


class Silent:
    """Takes connections and never answers; or cuts each, as a replica that a sample ends."""

    def __init__(self, *, cuts: bool = False) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._taken: list[socket.socket] = []
        self.asked = 0  # of those that were cut, predictions
        threading.Thread(target=self._run, args=(cuts,), daemon=True).start()

    def _run(self, cuts: bool) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listening.accept()
                self._taken.append(peer)
                if cuts:
                    self.asked += b"/v1/predict" in peer.recv(100)
                    peer.close()

    def stop(self) -> None:
        self._listening.close()
        for peer in self._taken:
            peer.close()


@contextmanager
def proxied(*behind: Behind | Silent, **changes: object) -> Iterator[tuple[Client, Proxy]]:
    """A proxy on these replicas, and a client of it."""

    async def known() -> dict[str, str]:
        return {str(n): one.url for n, one in enumerate(behind)}

    wanted = Settings(**{"token": OUTER, "deadline_s": 5, **changes})  # type: ignore[arg-type]
    proxy = Proxy(wanted, INNER, Replicas(known))
    with ExitStack() as stack:
        for one in behind:
            stack.callback(one.stop)
        port = stack.enter_context(running(create_proxy(proxy), token=OUTER))
        yield Client(f"http://127.0.0.1:{port}", OUTER), proxy


def holder(proxy: Proxy, *behind: Behind) -> Behind:
    """The replica that has the stream."""
    return next(one for n, one in enumerate(behind) if proxy.replicas.get(str(n)).streams)  # type: ignore[union-attr]
