"""A webhook's receiver: it verifies what it is sent, and can go and come back on its port."""

import base64
import hmac
import json
import socket
import ssl
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.serving.servers import free_port

SECRET = "a secret of many characters"
PATIENCE_S = 120


class Receiver:
    """What came, in order, copies included. `statuses` are answered first; at `cut_at` messages no answer is."""

    def __init__(
        self, statuses: tuple[int, ...] = (), cut_at: tuple[int, ...] = (), tls: ssl.SSLContext | None = None
    ) -> None:
        self.port, self.tls = free_port(), tls
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}/hook?a=b"
        self.came: list[dict[str, Any]] = []
        self.statuses, self._cut_at = list(statuses), set(cut_at)
        self.changed = threading.Condition()
        self.cuts = 0
        self._sockets: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread

    def start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                receiver._sockets.add(self.connection)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver.take(self.path, self.headers, body)
                if status is None:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """As a killed process: the port is closed, and so is every connection."""
        if self._server is not None:
            self._server.shutdown()
            for connection in list(self._sockets):
                with suppress(OSError):  # the other end has closed it
                    connection.shutdown(socket.SHUT_RDWR)
            self._sockets.clear()
            self._server.server_close()
            self._server = None

    def take(self, path: str, headers: Any, body: bytes) -> int | None:
        """The status of the answer; None for none."""
        assert path == "/hook?a=b"
        content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        good = "v1," + base64.b64encode(hmac.digest(SECRET.encode(), content, "sha256")).decode()
        message = json.loads(body)
        with self.changed:
            if self.statuses:
                return self.statuses.pop(0)
            if headers["webhook-signature"] != good or headers["webhook-id"] != message["id"]:
                return 401
            self.came.append(message)
            cut = len(self.came) in self._cut_at
            self.cuts += cut
            self.changed.notify_all()
            return None if cut else 204

    def distinct(self) -> list[Any]:
        """The numbers that came, each at its first copy."""
        return list({message["id"]: message.get("n") for message in self.came}.values())

    def wait_for(self, n: int) -> None:
        """Until n different messages have come."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.distinct()) >= n, PATIENCE_S), len(self.came)
