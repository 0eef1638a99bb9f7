"""`spikesight serve` as people start it: models loaded again, logs, and an orderly end."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from spikesight.service.client import ClientError
from tests.support.inputs.samples import picture
from tests.support.models import kept, tiny
from tests.support.serving.http import TOKEN, refused
from tests.support.serving.servers import Served
from tests.support.threads import together
from tests.support.waiting import PATIENCE_S, until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return kept(tmp_path / "tiny")


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    with Served("--model", str(folder), "--log-format", "json", SPIKESIGHT_TOKEN=TOKEN) as served:
        yield served


@pytest.mark.attack("WebSocket", "open at SIGTERM", "1012")
def test_reload_logs_and_an_orderly_end(served: Served, folder: Path) -> None:
    client = served.client
    until(client.ready, "models and decoders are warm")
    old, before = client.stream(width=24, height=32), client.predict(picture(), logits=True).logits
    kept(folder, tiny(seed=5))
    served.process.send_signal(signal.SIGHUP)
    until(lambda: client.predict(picture(), logits=True).logits != before, "the model was not loaded again")

    (folder / "config.json").write_text("{")
    served.process.send_signal(signal.SIGHUP)
    until(lambda: "models not reloaded" in served.log())
    assert client.predict(picture()).model == "tiny", "a broken model on disk changes nothing"

    def ask() -> int:
        try:
            client.predict(picture())
        except ClientError as error:
            return error.status
        return 200

    asked = together([ask] * 4 + [lambda: served.process.send_signal(signal.SIGTERM) or 200])
    assert set(asked) <= {200, 503}, "answered or refused: nothing is lost"
    assert not client.ready()
    assert refused(list, old.receive(PATIENCE_S))[0] == 1012
    logs = [json.loads(line) for line in served.finish().splitlines()]
    assert served.process.returncode == 0
    events = [entry["event"] for entry in logs]
    assert events.count("models loaded") == 2
    assert "models not reloaded" in events
    request = next(entry for entry in logs if entry["event"] == "request")
    assert {"time", "level", "method", "route", "status", "ms", "client"} <= set(request)


@pytest.mark.parametrize("early", [True, False])
def test_ctrl_c_leaves_no_child_and_no_traceback(served: Served, early: bool) -> None:
    """The terminal sends it to all processes, perhaps while the decoders' imports are not over."""
    until(served.children, "the fork server has begun")
    if not early:
        with pytest.raises(ClientError):
            served.client.predict(b"% evt 3.0\n% end\n" + bytes(4), name="x.raw")  # decoded in a process of its own
    children = [served.process.pid, *map(int, served.children())]
    for child in reversed(children):
        os.kill(child, signal.SIGINT)
    logs = served.finish()
    assert served.process.returncode == 0
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
    assert "Traceback" not in logs
