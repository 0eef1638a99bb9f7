"""A recording played by the virtual camera over TCP and UDP gives, in the running service, the offline predictions."""

from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import count

import numpy as np
import pytest

from spikesight.app.recordings.play import DvSink, Sink, UdpSink
from spikesight.encoders.emulator.saccades import saccades
from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.sources import network
from spikesight.encoders.sources.address import Address
from spikesight.encoders.sources.source import Source
from spikesight.service.api import create_app
from spikesight.service.client import Client
from spikesight.service.stream import live
from spikesight.service.stream.protocol import StreamCore
from tests.support.models import EVENT_CONTRACT, tiny
from tests.support.serving.servers import free_port, running, settings
from tests.support.serving.streams import predictions

SENSOR = SensorSize(24, 32)
CONTRACT = replace(EVENT_CONTRACT, bin_us=20_000)


def recording() -> Events:
    image = np.zeros((28, 28), np.uint8)
    image[5:23, 9:13] = image[5:9, 9:20] = 255
    return saccades(image, SENSOR, seed=1)


def camera_and_source(kind: str) -> tuple[Sink, Source]:
    if kind == "dv":
        port = free_port()
        sink = DvSink(SENSOR, "127.0.0.1", port)
        return sink, Source(Address("dv", "dv", "127.0.0.1", port), network.DvDriver)
    opened: list[network.UdpDriver] = []

    def open_driver(address: Address) -> network.UdpDriver:
        opened.append(network.UdpDriver(address))
        return opened[-1]

    options = {"size": str(SENSOR), "format": kind}
    source = Source(Address("udp", "udp", "127.0.0.1", 0, options), open_driver)
    return UdpSink("127.0.0.1", opened[0].port, kind), source


@pytest.mark.parametrize("kind", ["dv", "t64", "aestream"])
def test_live_predictions_are_the_offline_ones(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly the packets are passed on: the clock, which closes bins in silence, stands still so long."""
    now = count()
    monkeypatch.setattr(live, "StreamCore", partial(StreamCore, clock=lambda: next(now) if all_came() else 0))
    events = recording()
    expected = tiny(CONTRACT).predict_events(events, SENSOR)
    packets = np.array_split(events, 40)
    sink, source = camera_and_source(kind)

    def all_came() -> bool:
        return source.n_events == len(events)

    with (
        running(create_app(settings(), (tiny(CONTRACT),), (source,))) as port,
        Client(f"http://127.0.0.1:{port}").stream(source="0") as viewer,
        closing(sink),
    ):
        while isinstance(sink, DvSink) and not sink.n_clients:
            pass
        for packet in packets:
            sink.send(packet)
        found = predictions(viewer, len(expected))
    assert [one.n_events for one in found] == [one.n_events for one in expected]
    assert [one.start_us for one in found] == [one.start_us for one in expected]
    assert [one.label for one in found] == [one.label for one in expected]
    for got, wanted in zip(found, expected):
        assert got.probabilities == pytest.approx(list(wanted.probabilities), abs=1e-6)
    assert source.n_dropped == source.counters.n_outside == 0
