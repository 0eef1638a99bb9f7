"""Live streams over a real WebSocket: answers, several things at once, and the code that a broken rule closes with."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from io import BytesIO
from itertools import pairwise
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
import websockets.sync.client
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Response

import spikesight
from spikesight.encoders.emulator.pixels import Emulator
from spikesight.encoders.events import Events, SensorSize, joined
from spikesight.models.classifier.inputs import InputPipeline
from spikesight.models.classifier.session import Session
from spikesight.service.client import Ack, Bad, Client, ClientError, EventPicture, StreamPrediction
from spikesight.service.stream.messages import EVENTS_T64
from spikesight.service.stream.protocol import StreamCore
from tests.support.inputs.samples import picture, some_events
from tests.support.models import EVENT_CONTRACT, IMAGE_CONTRACT, LABELS, finding, tiny
from tests.support.serving.servers import running
from tests.support.serving.streams import SENSOR, STREAM, Alone, answered, finished, predictions
from tests.support.waiting import PATIENCE_S


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(classifiers=(tiny(), tiny(IMAGE_CONTRACT, "pixels")), max_pending=16) as port:
        yield port


@pytest.fixture
def client(port: int) -> Client:
    return Client(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize("packets", [1, 7, 100])
def test_a_stream_gives_the_offline_logits(client: Client, packets: int) -> None:
    events = some_events(900, span_us=400_000)
    expected = tiny().predict_events(events, SensorSize(**SENSOR))
    with client.stream(**STREAM) as stream:
        sent = {stream.send_events(part) for part in np.array_split(events, packets)}
        messages = answered(stream)
    assert {message.seq for message in messages if isinstance(message, Ack | StreamPrediction)} == sent, (
        "each is answered"
    )
    got = [message for message in messages if isinstance(message, StreamPrediction)]
    assert stream.ready["labels"] == list(LABELS)
    assert (stream.ready["step_us"], stream.ready["steps"]) == (EVENT_CONTRACT.bin_us, EVENT_CONTRACT.steps)
    assert [tuple(p.logits or ()) for p in got] == [p.logits for p in expected[:-1]]  # the last bin is still open
    assert [p.step for p in got] == list(range(1, len(got) + 1))
    assert got[-1].label == expected[-2].label
    assert got[-1].total_spikes == sum(p.spikes for p in got)
    assert all(sum(p.layer_spikes) == p.spikes for p in got)
    assert all(p.inside is None for p in got), "nobody probes"
    assert all(p.dropped == 0 for p in got)


def test_who_probes_sees_every_neuron_and_nobody_else_does(client: Client) -> None:
    events, layer, row, column = some_events(900, span_us=400_000), 1, 4, 5
    trace = spikesight.Model(tiny()).trace(events, SensorSize(**SENSOR))
    with client.stream(**STREAM) as blind, client.stream(**STREAM, probe=True) as stream:
        blind.send_events(events)
        stream.send_events(events[:400])
        seen = finished(stream)
        stream.probe((layer, row, column))
        stream.send_events(events[400:])
        near = finished(stream)
        assert all(one.inside is None for one in finished(blind))
    shown = [(step, one.inside) for step, one in enumerate(seen + near) if one.inside is not None]
    ends = [one.end_us for one in seen + near if one.inside is not None]
    assert {after - before for before, after in pairwise(ends)} == {stream.ready["probe_us"]}
    for step, inside in shown:
        bits, at = np.unpackbits(inside.fired), 0
        for made, own in zip(trace.layers.values(), stream.ready["maps"], strict=True):
            channels, height, width = made.spikes.shape[1:]
            assert (own["title"], own["channels"], own["height"]) == (made.title, channels, height)
            padded = -channels % 16 + channels
            fired = bits[at : (at := at + height * width * padded)].reshape(height, width, padded)
            assert np.array_equal(fired[..., :channels].transpose(2, 0, 1), made.spikes[step] != 0)
    names = list(trace.layers)
    closer = [(step, inside) for step, inside in shown if step >= len(seen)]
    assert 0 < len(closer) < len(shown)
    for step, inside in closer:
        assert inside.membranes is not None
        expected = trace.layers[names[layer]].membranes[step, :, row, column]
        assert np.allclose(inside.membranes, expected, atol=1e-5)


def test_pictures_follow_the_answers(client: Client) -> None:
    events = some_events(400)
    with client.stream(picture=True, **SENSOR) as stream:
        sent = [stream.send_events(part) for part in np.array_split(events, 5)]
        messages = answered(stream)
    pictures = [message for message in messages if isinstance(message, EventPicture)]
    assert [one.seq for one in pictures] == sent
    assert (pictures[0].width, pictures[0].height) == (SENSOR["width"], SENSOR["height"])
    for shown, name in (("x", "x"), ("y", "y"), ("on", "p")):
        assert np.array_equal(np.concatenate([getattr(one, shown) for one in pictures]), events[name])
    for before, one, after in zip(messages, messages[1:], messages[2:]):
        if isinstance(one, EventPicture):
            assert isinstance(before, Ack | StreamPrediction)
            assert before.seq == one.seq != getattr(after, "seq", 0), "behind the last answer to its message"


@pytest.mark.parametrize(
    ("kind", "payload", "says"),
    [(0, b"", "empty"), (0, picture(".jpg")[:300], "damaged"), (EVENTS_T64, bytes(14), "whole number")],
)
def test_bad_frames_get_a_sentence_and_the_stream_goes_on(client: Client, kind: int, payload: bytes, says: str) -> None:
    with client.stream(**STREAM) as stream:
        seq = stream._frame(kind, payload, None)
        (bad,) = [message for message in answered(stream) if isinstance(message, Bad)]
        assert bad.seq == seq
        assert says in bad.error
        stream.send_events(some_events(100))
        assert finished(stream)


def test_a_live_stream_goes_on_in_silence(client: Client) -> None:
    with client.stream(live=True, **SENSOR) as stream:
        stream.send_events(some_events(50, span_us=5_000))
        got = predictions(stream, 5)
    assert [p.n_events for p in got][1:] == [0] * (len(got) - 1)


def test_a_stream_at_another_bin_has_the_classifiers_own_answers() -> None:
    fine, events = tiny(replace(EVENT_CONTRACT, shortest_bin_us=1000)), some_events(600, span_us=60_000)
    with running(classifiers=(fine,)) as port:
        client = Client(f"http://127.0.0.1:{port}")
        with client.stream(bin_ms=2, **STREAM) as stream, client.stream(**STREAM) as own:
            assert (stream.ready["step_us"], own.ready["step_us"]) == (2000, 10_000)
            stream.send_events(events)
            own.send_events(events)
            got, coarse = finished(stream), finished(own)
        with pytest.raises(ClientError, match="milliseconds from 1 to 10") as caught, client.stream(bin_ms=3.5) as bad:
            next(bad.receive(PATIENCE_S))
    assert caught.value.status == 1008
    expected = fine.at(2).predict_events(events, SensorSize(**SENSOR))[:-1]
    np.testing.assert_allclose([p.logits or [] for p in got], [p.logits for p in expected], rtol=1e-3, atol=1e-4)
    assert len(got) > 4 * len(coarse) > 0


def raw(port: int, **options: object) -> websockets.sync.client.ClientConnection:
    address = f"ws://127.0.0.1:{port}/v1/stream"
    return websockets.sync.client.connect(address, compression=None, **options).__enter__()  # type: ignore[arg-type]


def refused(port: int, **options: object) -> Response:
    """The answer to a handshake."""
    with pytest.raises(InvalidStatus) as caught:
        raw(port, **options)
    return caught.value.response


@contextmanager
def greeted(port: int, **changes: object) -> Iterator[websockets.sync.client.ClientConnection]:
    """A stream that is ready."""
    with raw(port) as socket:
        socket.send(hello(**changes))
        assert json.loads(socket.recv(PATIENCE_S))["type"] == "ready"
        yield socket


def hello(**changes: object) -> str:
    return json.dumps({"type": "hello", "protocol": 1, **SENSOR, **changes})


def close_code(socket: websockets.sync.client.ClientConnection) -> int:
    end = time.monotonic() + 10
    try:
        while time.monotonic() < end:
            socket.recv(10)
    except ConnectionClosed as error:
        return error.rcvd.code if error.rcvd else 1006
    raise AssertionError("not closed")


@pytest.mark.parametrize(
    ("first", "says"),
    [
        (b"bytes", "hello: Invalid JSON"),
        ("{}", "hello, type: Field required"),
        (hello(protocol=2), "hello, protocol: "),
        (hello(restore="AAAA"), "hello, a field: Extra inputs are not permitted"),
        (hello(model="nothing"), "no model of that name"),
        (hello(width=100_000), "hello, width: Input should be less than or equal to"),
        (hello(height=0), "hello: width and height go together"),
        (hello(mode="slow"), "hello, mode: Input should be 'complete' or 'freshest'"),
    ],
)
def test_a_wrong_hello_closes_1008_and_is_told_which_field(port: int, first: str | bytes, says: str) -> None:
    code, reason = closed_for(port, first)
    assert code == 1008
    assert reason.startswith(says)


def closed_for(port: int, *messages: str | bytes) -> tuple[int, str]:
    """How a stream is closed that sends these."""
    with raw(port) as socket:
        for message in messages:
            socket.send(message)
        return close_code(socket), socket.close_reason or ""


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ("text", "a text message"),
        ('{"type": "hello"}', "a text message: its type must be reset, settings or probe"),
        ('{"type": "snapshot"}', "a text message: its type must be reset, settings or probe"),
        ('{"type":"settings","threshold":0}', "a text message, threshold: Input should be greater than 0.01"),
        (b"short", "a binary message starts with a header"),
        (bytes(12) + b"\x09\0\0\0", "unknown kind"),
    ],
)
def test_wrong_messages_close_1003(port: int, message: str | bytes, says: str) -> None:
    code, reason = closed_for(port, hello(), message)
    assert code == 1003
    assert reason.startswith(says)


@pytest.mark.attack("WebSocket", "bad UTF-8", "1007")
def test_bad_utf8_closes_1007(port: int) -> None:
    with greeted(port) as socket:
        socket.send(b"\xff\xfe", text=True)
        assert close_code(socket) == 1007


@pytest.mark.attack("WebSocket", "messages over 4 MiB", "1009, or cut off for who is still sending")
def test_a_large_message_ends_the_stream(port: int) -> None:
    with greeted(port) as socket:
        with suppress(ConnectionClosed):  # the refusal may come before all of it is sent
            socket.send(bytes(4 * 2**20 + 1))
        assert close_code(socket) in (1006, 1009)


def test_compression_is_not_negotiated(port: int) -> None:
    with websockets.sync.client.connect(f"ws://127.0.0.1:{port}/v1/stream", compression="deflate") as socket:
        assert socket.protocol.extensions == []


@pytest.mark.attack("WebSocket", "wrong token in the handshake or in hello", "401 / close 1008")
@pytest.mark.attack("WebSocket", "too many messages per second", "1008 above the rate cap")
@pytest.mark.attack("WebSocket", "too many streams", "503 in the handshake")
@pytest.mark.attack("WebSocket", "no hello; no message for long", "1008; 1001")
def test_limits_of_a_stream() -> None:
    with running(max_sessions=2, hello_s=0.3, idle_s=0.6, messages_per_s=20, token="0123456789abcdef") as port:
        token = {"token": "0123456789abcdef"}
        with raw(port) as late:
            assert close_code(late) == 1008
        with raw(port) as wrong:
            wrong.send(hello(token="0123456789abcdeX"))
            assert close_code(wrong) == 1008
        assert refused(port, additional_headers={"Authorization": "Bearer wrong"}).status_code == 401
        with raw(port) as flood:
            flood.send(hello(**token))
            with suppress(ConnectionClosed):  # the refusal may come before all are sent
                for _ in range(60):
                    flood.send(bytes(12) + b"\1\0\0\0")
            assert close_code(flood) == 1008
        with greeted(port, **token) as first, greeted(port, **token):
            answer = refused(port)
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            assert close_code(first) == 1001
        with Client(f"http://127.0.0.1:{port}", token["token"]).stream(**SENSOR) as stream:
            assert stream.ready["type"] == "ready"


def test_one_address_holds_its_share_of_the_streams() -> None:
    with running(max_sessions=4) as port, ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(greeted(port))
        answer = refused(port)
        assert answer.status_code == 429
        assert "this address" in json.loads(answer.body or b"")["error"]


@pytest.mark.attack("WebSocket", "streams that never send hello", "hold no place of those who have the token")
def test_who_says_nothing_holds_no_place() -> None:
    with running(max_sessions=1, token="0123456789abcdef") as port, ExitStack() as stack:
        silent = [stack.enter_context(raw(port)) for _ in range(3)]
        with Client(f"http://127.0.0.1:{port}", "0123456789abcdef").stream(**SENSOR) as stream:
            assert stream.ready["type"] == "ready"
            silent[2].send(hello(token="0123456789abcdef"))
            assert close_code(silent[2]) == 1013, "the place is taken meanwhile"


def test_a_stream_on_which_the_service_fails_closes_1011(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with greeted(port) as socket:
        monkeypatch.setattr(StreamCore, "batches", Mock(side_effect=ZeroDivisionError))
        socket.send(bytes(12) + b"\1\0\0\0")
        assert close_code(socket) == 1011


DRAWING = finding(name="drawn")
DRAWING_SIZE = SensorSize(160, 120)
HELLO = {"width": DRAWING_SIZE.width, "height": DRAWING_SIZE.height, "objects": 4, "logits": True, "picture": True}


@pytest.fixture(scope="module")
def drawing_client() -> Iterator[Client]:
    with running(classifiers=(DRAWING, tiny()), max_pending=64) as port:
        yield Client(f"http://127.0.0.1:{port}", timeout_s=PATIENCE_S)


def film(frames: int = 40) -> Events:
    """Two drawings that tremble before a camera."""
    camera, parts = Emulator(DRAWING_SIZE), list[Events]()
    for n in range(frames):
        paper = np.full((120, 160), 210, np.uint8)
        x, y = round(3 * np.sin(n * 0.9)), round(3 * np.cos(n * 1.3))
        for strokes in ([[25, 30], [50, 30], [35, 75]], [[100, 30], [130, 45], [100, 60], [130, 75]]):
            cv2.polylines(paper, [np.add(strokes, (x, y))], False, 40, 4)
        parts.append(camera.push(paper, n * 20_000))
    return joined(parts)


NAMES = ("step", "label", "probabilities", "synops", "objects")


def heard(answers: list[StreamPrediction]) -> list[tuple[object, ...]]:
    return [(one.label, *(one.model_dump(mode="json", include={*NAMES})[name] for name in NAMES)) for one in answers]


def alone(events: Events) -> list[tuple[object, ...]]:
    """The same stream without a service."""
    stream = Alone(Session(DRAWING, DRAWING_SIZE, objects=4))
    answers = stream.step(stream.session.push(events))
    said = [(answer.prediction.label, json.loads(json.dumps(answer.prediction.fields()))) for answer in answers]
    assert max(len(fields["objects"]) for _, fields in said) >= 2
    return [(label, *(fields[name] for name in NAMES)) for label, fields in said]


def test_a_stream_answers_as_it_would_alone(drawing_client: Client) -> None:
    events = film()
    with drawing_client.stream(**HELLO) as stream:
        for part in np.array_split(events, 12):
            stream.send_events(part)
        assert heard(finished(stream)) == alone(events)
    assert stream.ready["maps"] == json.loads(json.dumps([one._asdict() for one in DRAWING.maps()]))


def test_a_stream_with_one_window_has_no_objects(drawing_client: Client) -> None:
    with drawing_client.stream(width=24, height=32, picture=True) as stream:
        stream.send_events(film(8))
        assert all(one.objects is None for one in finished(stream))


@pytest.mark.parametrize(
    ("hello", "why"),
    [
        ({"objects": 9}, "objects"),
        ({"objects": 2, "raw": True}, "not with raw"),
        ({"objects": 2, "model": "tiny"}, "classifies one object"),
    ],
)
def test_what_cannot_be_looked_for_is_refused(drawing_client: Client, hello: dict[str, object], why: str) -> None:
    with pytest.raises(ClientError, match=why), drawing_client.stream(width=96, height=80, **hello):
        pass


def test_a_recording_and_a_picture_have_objects_where_they_are_asked_for(drawing_client: Client) -> None:
    file = BytesIO()
    events = film()
    np.savez(file, t=events["t"], x=events["x"], y=events["y"], p=events["p"], width=160, height=120)
    recording, plain = (drawing_client.predict(file.getvalue(), name="film.npz", objects=n) for n in (4, 0))
    assert isinstance(plain.objects, list), "an event camera shows several things, whether they are asked for or not"
    assert isinstance(recording.objects, list)
    assert 0 < len(recording.objects) <= 4
    assert plain.objects
    pipeline = InputPipeline(DRAWING.card, DRAWING_SIZE)
    assert list(pipeline.stream([events]))
    assert (plain.events_in, plain.events_kept) == (pipeline.filter.n_events, pipeline.filter.n_kept)
    picture = cv2.imencode(".png", np.full((120, 160), 200, np.uint8))[1].tobytes()
    assert drawing_client.predict(picture, objects=4).objects == []
    with pytest.raises(ClientError, match="classifies one object"):
        drawing_client.predict(picture, model="tiny", objects=4)
