"""`spikesight serve` as people start it: models loaded again, logs, and an orderly end."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from spikesight.encoders.events import SensorSize
from spikesight.service.api import create_app
from spikesight.service.client import Client, ClientError
from tests.support.inputs.samples import picture, some_events
from tests.support.models import EVENT_CONTRACT, kept, tiny
from tests.support.serving.http import TOKEN, refused
from tests.support.serving.servers import Served, running, settings
from tests.support.serving.streams import SENSOR, STREAM, finished
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


def test_triton_s_client_loads_a_model_while_streams_go_on(folder: Path) -> None:
    http = pytest.importorskip("tritonclient.http", reason="needs tritonclient: pip install 'spikesight[dev]'")
    from tritonclient.utils import InferenceServerException

    sensor = SensorSize(EVENT_CONTRACT.sensor_width, EVENT_CONTRACT.sensor_height)
    events = some_events(4000, span_us=1_000_000)
    mine = {"headers": {"Authorization": f"Bearer {TOKEN}"}}

    def are_of(found: list, seed: int) -> bool:
        expected = [step.logits for step in tiny(seed=seed).predict_events(events, sensor)]
        return [tuple(step.logits) for step in found] == expected[: len(found)] and len(found) >= len(expected) - 1

    with running(create_app(settings(models=(str(folder),), token=TOKEN))) as port:
        triton, client = http.InferenceServerClient(f"127.0.0.1:{port}"), Client(f"http://127.0.0.1:{port}", TOKEN)
        kept(folder, tiny(seed=5))
        triton.load_model("tiny", **mine)
        with client.stream(**STREAM) as old:
            old.send_events(events[:2000])
            got = finished(old)
            kept(folder, tiny(seed=6))
            triton.load_model("tiny.steps", **mine)  # either name of the protocol means the one model
            with client.stream(**STREAM) as fresh:
                fresh.send_events(events)
                assert are_of(finished(fresh), 6)
            old.send_events(events[2000:])
            assert are_of(got + finished(old), 5)

        (folder / "config.json").write_text("{")
        with pytest.raises(InferenceServerException, match="stays as it was"):
            triton.load_model("tiny", **mine)
        for name, options in (("none", mine), ("tiny", {"config": "{}", **mine}), ("tiny", {})):
            with pytest.raises(InferenceServerException, match=r"GET /v1/models|no parameters|a valid token"):
                triton.load_model(name, **options)
        with client.stream(**SENSOR) as still:
            assert still.ready["model"] == "tiny"
        triton.close()


def test_ctrl_c_leaves_no_child(served: Served) -> None:
    with pytest.raises(ClientError):
        served.client.predict(b"% evt 3.0\n% end\n" + bytes(4), name="x.raw")  # decoded in a process of its own
    children = served.children()
    served.process.send_signal(signal.SIGINT)
    served.finish()
    assert served.process.returncode == 0
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
