"""A static host: files of a folder and nothing else."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Quiet(SimpleHTTPRequestHandler):
    """Python's own, which does not log on the terminal."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def static(folder: Path) -> Iterator[str]:
    """Its origin."""
    host = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=host.serve_forever)
    thread.start()
    try:
        yield f"http://localhost:{host.server_port}"
    finally:
        host.shutdown()
        host.server_close()
        thread.join()
