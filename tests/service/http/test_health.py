"""A container's health check knows nothing of the flags that the service was started with."""

import socket
import subprocess
import sys
import threading
from pathlib import Path

from spikesight.service.api import create_app
from spikesight.service.http.health import lives
from spikesight.service.http.server import server
from spikesight.service.settings import Settings
from tests.support.models import tiny
from tests.support.serving.servers import running
from tests.support.serving.tls import Certificate
from tests.support.waiting import PATIENCE_S, until


def test_a_service_that_lives_and_one_that_is_not_there() -> None:
    with running(classifiers=(tiny(),)) as port:
        assert lives(port)
        command = [sys.executable, "-m", "spikesight.service.http.health", str(port)]
        assert subprocess.run(command, check=False).returncode == 0
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        assert not lives(nobody.getsockname()[1])


def test_a_service_on_https_whoever_signed_its_certificate(tmp_path: Path) -> None:
    made, settings = Certificate.made(tmp_path), Settings()
    served = server(create_app(settings, (tiny(),)), settings, str(made.certificate), str(made.key))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=served.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        until(lambda: served.started)
        try:
            assert lives(listening.getsockname()[1])
        finally:
            served.should_exit = True
            thread.join(PATIENCE_S)
