"""Live streams over a real WebSocket, through the package's own client."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import spikesight
from spikesight.encoders.events import SensorSize
from spikesight.service.client import Ack, Bad, Client, ClientError, Picture, Prediction
from spikesight.service.stream.messages import EVENTS_T64
from tests.support.inputs.samples import picture, some_events
from tests.support.models import EVENT_CONTRACT, LABELS, tiny
from tests.support.serving.servers import running
from tests.support.serving.streams import SENSOR, STREAM, answered, finished, predictions
from tests.support.waiting import PATIENCE_S


@pytest.mark.parametrize("packets", [1, 7, 100])
def test_a_stream_gives_the_offline_logits(client: Client, packets: int) -> None:
    events = some_events(900, span_us=400_000)
    expected = tiny().predict_events(events, SensorSize(**SENSOR))
    with client.stream(**STREAM) as stream:
        sent = {stream.send_events(part) for part in np.array_split(events, packets)}
        messages = answered(stream)
    assert {message.seq for message in messages if isinstance(message, Ack | Prediction)} == sent, "each is answered"
    got = [message for message in messages if isinstance(message, Prediction)]
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
    pictures = [message for message in messages if isinstance(message, Picture)]
    assert [one.seq for one in pictures] == sent
    assert (pictures[0].width, pictures[0].height) == (SENSOR["width"], SENSOR["height"])
    for shown, name in (("x", "x"), ("y", "y"), ("on", "p")):
        assert np.array_equal(np.concatenate([getattr(one, shown) for one in pictures]), events[name])
    for before, one, after in zip(messages, messages[1:], messages[2:]):
        if isinstance(one, Picture):
            assert isinstance(before, Ack | Prediction)
            assert before.seq == one.seq != getattr(after, "seq", 0), "behind the last answer to its message"


@pytest.mark.parametrize(
    ("kind", "payload", "says"),
    [
        (0, b"", "empty"),
        (0, picture(".jpg")[:300], "damaged"),
        (EVENTS_T64, bytes(14), "whole number"),
    ],
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
