"""`spikesight serve` as people start it: the address, the ways out, reload, and an orderly end."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import picture, tiny

from app import serve
from app.cli import main
from models.checkpoint import save
from service.client import Client, ClientError

START = [sys.executable, "-c", "import sys; from app.cli import main; sys.exit(main())", "serve"]
PATIENCE_S = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    made = tiny()
    save(folder, made.network, made.card)
    return folder


class Served:
    """A service in a process of its own."""

    def __init__(self, *flags: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [*START, "--port", "0", *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        found = re.search(r"http://\S+", self.line)
        assert found, self.finish()
        self.url = found.group()
        self.client = Client(self.url, environment.get("SPIKESIGHT_TOKEN"))

    def finish(self) -> str:
        """Wait for the end; everything it logged."""
        _, errors = self.process.communicate(timeout=PATIENCE_S)
        return errors

    def children(self) -> list[str]:
        task = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return task.read_text().split() if task.exists() else []


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    served = Served("--model", str(folder), "--log-format", "json")
    yield served
    if served.process.poll() is None:
        served.process.kill()
        served.finish()
    for pipe in (served.process.stdout, served.process.stderr):
        if pipe is not None:
            pipe.close()


def test_reload_logs_and_an_orderly_end(served: Served, folder: Path) -> None:
    client = served.client
    assert client.ready()
    assert client.predict(picture()).model == "tiny"

    old = client.stream(width=24, height=32)
    other = tiny(seed=5)
    save(folder, other.network, other.card)
    before = client.predict(picture(), logits=True).logits
    served.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + PATIENCE_S
    while client.predict(picture(), logits=True).logits == before:
        assert time.monotonic() < end, "the model was not loaded again"
        time.sleep(0.05)

    (folder / "config.json").write_text("{")
    served.process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert client.predict(picture()).model == "tiny"  # a broken model on disk changes nothing
    save(folder, other.network, other.card)

    answers: list[int] = []

    def ask() -> None:
        try:
            client.predict(picture())
            answers.append(200)
        except ClientError as error:
            answers.append(error.status)

    busy = [threading.Thread(target=ask) for _ in range(4)]
    for thread in busy:
        thread.start()
    served.process.send_signal(signal.SIGTERM)
    for thread in busy:
        thread.join()
    assert set(answers) <= {200, 503}  # answered or told so: nothing is lost
    assert len(answers) == 4
    assert not client.ready()
    with pytest.raises(ClientError) as caught:
        list(old.receive(10))
    assert caught.value.status == 1012
    logs = [json.loads(line) for line in served.finish().splitlines()]
    assert served.process.returncode == 0
    events = [entry["event"] for entry in logs]
    assert events.count("models loaded") == 2
    assert "models not reloaded" in events
    request = next(entry for entry in logs if entry["event"] == "request")
    assert {"time", "level", "method", "route", "status", "ms", "client"} <= set(request)


def test_ctrl_c_leaves_no_child(served: Served) -> None:
    with pytest.raises(ClientError):
        served.client.predict(b"% evt 3.0\n% end\n" + bytes(4), name="x.raw")  # decoded in a process of its own
    children = served.children()
    served.process.send_signal(signal.SIGINT)
    served.finish()
    assert served.process.returncode == 0
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


def test_ways_out(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    assert f"--port {port + 1}" in capsys.readouterr().err
    for flags, says in (
        (["--host", "0.0.0.0"], "SPIKESIGHT_TOKEN"),
        (["--model", "nothing-like-it"], "shipped name"),
        (["--port", "99999"], "port"),
        (["--host", "192.0.2.1", "--insecure"], "cannot listen"),
        (["--token", "short"], "16"),
    ):
        assert main(["serve", "--port", "0", *flags]) == 2
        assert says in capsys.readouterr().err


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import argparse

    monkeypatch.setenv("SPIKESIGHT_PORT", "9000")
    monkeypatch.setenv("SPIKESIGHT_MAX_BATCH", "5")
    parser = argparse.ArgumentParser()
    serve.configure(parser)
    chosen = serve.settings_from(parser.parse_args(["--port", "9001", "--model", "a", "--model", "b"]))
    assert (chosen.port, chosen.max_batch, chosen.models) == (9001, 5, ("a", "b"))


@pytest.mark.parametrize(
    ("host", "secure", "url"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:80"),
        ("0.0.0.0", False, "http://localhost:80"),
        ("::1", True, "https://[::1]:80"),
        ("box", True, "https://box:80"),
    ],
)
def test_address(host: str, secure: bool, url: str) -> None:
    assert serve.address(host, 80, secure) == url
