"""`spikesight serve` as people start it: models loaded again, logs, and an orderly end."""

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from spikesight.encoders.events import SensorSize
from spikesight.models.checkpoint import save
from spikesight.service.client import ClientError
from tests.support.inputs.samples import picture, some_events
from tests.support.models import EVENT_CONTRACT, tiny
from tests.support.serving.http import TOKEN
from tests.support.serving.servers import Served
from tests.support.serving.streams import SENSOR, STREAM, predictions
from tests.support.waiting import PATIENCE_S, until


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    made = tiny()
    save(folder, made.network, made.card)
    return folder


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    served = Served("--model", str(folder), "--log-format", "json", SPIKESIGHT_TOKEN=TOKEN)
    yield served
    if served.process.poll() is None:
        served.process.kill()
        served.finish()
    for pipe in (served.process.stdout,):
        if pipe is not None:
            pipe.close()


@pytest.mark.attack("WebSocket", "open at SIGTERM", "1012")
def test_reload_logs_and_an_orderly_end(served: Served, folder: Path) -> None:
    client = served.client
    until(client.ready, "models and decoders are warm")
    assert client.predict(picture()).model == "tiny"

    old = client.stream(width=24, height=32)
    other = tiny(seed=5)
    save(folder, other.network, other.card)
    before = client.predict(picture(), logits=True).logits
    served.process.send_signal(signal.SIGHUP)
    until(lambda: client.predict(picture(), logits=True).logits != before, "the model was not loaded again")

    (folder / "config.json").write_text("{")
    served.process.send_signal(signal.SIGHUP)
    until(lambda: "models not reloaded" in served.log())
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
        list(old.receive(PATIENCE_S))
    assert caught.value.status == 1012
    logs = [json.loads(line) for line in served.finish().splitlines()]
    assert served.process.returncode == 0
    events = [entry["event"] for entry in logs]
    assert events.count("models loaded") == 2
    assert "models not reloaded" in events
    request = next(entry for entry in logs if entry["event"] == "request")
    assert {"time", "level", "method", "route", "status", "ms", "client"} <= set(request)


def test_triton_s_client_loads_a_model_while_streams_go_on(served: Served, folder: Path) -> None:
    http = pytest.importorskip("tritonclient.http", reason="needs tritonclient: pip install 'spikesight[dev]'")
    from tritonclient.utils import InferenceServerException

    sensor = SensorSize(EVENT_CONTRACT.sensor_width, EVENT_CONTRACT.sensor_height)
    packets = np.array_split(some_events(4000, span_us=1_000_000), 40)
    answers = {
        seed: [step.logits for step in tiny(seed=seed).predict_events(np.concatenate(packets), sensor)][:-1]
        for seed in (5, 6)
    }
    triton = http.InferenceServerClient(served.url.removeprefix("http://"))
    mine = {"headers": {"Authorization": f"Bearer {TOKEN}"}}

    def keep(seed: int) -> None:
        made = tiny(seed=seed)
        save(folder, made.network, made.card)

    keep(5)
    triton.load_model("tiny", **mine)
    with served.client.stream(**STREAM) as running:
        for packet in packets[:20]:
            running.send_events(packet)
        got = predictions(running, 30)
        keep(6)
        triton.load_model("tiny.steps", **mine)  # either name of the protocol means the one model
        with served.client.stream(**STREAM) as fresh:
            for packet in packets:
                fresh.send_events(packet)
            assert [step.logits and tuple(step.logits) for step in predictions(fresh, len(answers[6]))] == answers[6]
        for packet in packets[20:]:
            running.send_events(packet)
        got += predictions(running, len(answers[5]) - len(got))
    assert [step.logits and tuple(step.logits) for step in got] == answers[5]

    (folder / "config.json").write_text("{")
    with pytest.raises(InferenceServerException, match="stays as it was"):
        triton.load_model("tiny", **mine)
    for refused in (
        lambda: triton.load_model("none", **mine),
        lambda: triton.load_model("tiny", config="{}", **mine),
        lambda: triton.load_model("tiny"),
    ):
        with pytest.raises(InferenceServerException, match=r"GET /v1/models|no parameters|a valid token"):
            refused()
    with served.client.stream(**SENSOR) as still:
        assert still.ready["model"] == "tiny"
    keep(6)
    triton.close()


def test_ctrl_c_leaves_no_child(served: Served) -> None:
    with pytest.raises(ClientError):
        served.client.predict(b"% evt 3.0\n% end\n" + bytes(4), name="x.raw")  # decoded in a process of its own
    children = served.children()
    served.process.send_signal(signal.SIGINT)
    served.finish()
    assert served.process.returncode == 0
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
