"""Sinks of events and `spikesight play`: addresses, readers that are slow, late or foreign, and the way back."""

import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikesight.app.recordings import play as sinks
from spikesight.app.recordings.play import CameraError, DvSink, open_sink
from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.recordings.files import write_recording
from spikesight.encoders.sources import network
from spikesight.encoders.sources.address import SourceLost
from spikesight.encoders.sources.source import Source, open_source, parse
from tests.app.conftest import Ask
from tests.support.inputs.sources import packets, read_to
from tests.support.refusals import refusal
from tests.support.serving.servers import free_port
from tests.support.waiting import until

SENSOR = SensorSize(40, 30)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        *((text, "cannot send to") for text in ("", "http://a:1", "udp://a", "dv://:5", "dv://a:999999", "webcam:0")),
        ("udp://127.0.0.1:5?format=x", "no layout"),
    ],
)
def test_wrong_targets_get_one_sentence(text: str, sentence: str) -> None:
    refusal(lambda: open_sink(text, SENSOR), sentence, CameraError)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_over_tcp(host: str) -> None:
    text = f"dv://{host}:{free_port()}"
    sink: Any = open_sink(text, SENSOR)
    parts = packets(4, each=5000)
    with Source(parse(text), network.DvDriver) as source, closing(sink):
        met(sink)
        for part in [parts[0][:0], *parts]:
            sink.send(part)
        assert np.array_equal(read_to(20_000, source.read), np.concatenate(parts))
    assert (sink.n_sent, sink.n_missed) == (20_000, 0)


def met(sink: DvSink) -> None:
    """Wait for the reader to be connected."""
    until(lambda: sink.n_clients)


def test_a_taken_port() -> None:
    sink = DvSink(SENSOR, "127.0.0.1", port := free_port())
    refusal(lambda: DvSink(SENSOR, "127.0.0.1", port), "is taken", CameraError)
    sink.close()


def test_a_reader_that_never_reads_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "SLOW_S", 0.05)
    sink = DvSink(SENSOR, "127.0.0.1", port := free_port())
    n = 400_000
    events = make_events(np.arange(n), np.zeros(n), np.zeros(n), np.ones(n))
    with socket.create_connection(("127.0.0.1", port)), closing(sink):
        met(sink)
        until(lambda: sink.send(events) or sink.n_missed)
    assert sink.n_dropped == n


def test_a_short_recording_is_read_after_its_server_has_gone() -> None:
    """All of it is sent, and the server is closed, before the reader asks for the first event."""
    sink = DvSink(SENSOR, "127.0.0.1", port := free_port())
    driver = network.DvDriver(parse(f"dv://127.0.0.1:{port}"))
    met(sink)
    for part in packets():
        sink.send(part)
    sink.close()
    found = read_to(200, driver.read)
    refusal(lambda: driver.read(5.0), "closed the connection", SourceLost)
    driver.close()
    assert np.array_equal(found, np.concatenate(packets()))
    assert sink.n_sent == 200


READ_WITH_DV = """
import sys, time
import numpy as np
import dv_processing as dv
reader = dv.io.NetworkReader("127.0.0.1", int(sys.argv[1]))
found, end = [], time.monotonic() + 20
while sum(map(len, found)) < int(sys.argv[2]) and time.monotonic() < end:
    if (batch := reader.getNextEventBatch()) is not None:
        found.append(batch.numpy())
np.save(sys.argv[3], np.concatenate(found))
"""


def test_dv_processing_reads_what_we_send(tmp_path: Path) -> None:
    """In a process of its own: it holds Python's lock while it waits for the header."""
    pytest.importorskip("dv_processing", exc_type=ImportError)
    sink = DvSink(SENSOR, "127.0.0.1", port := free_port())
    sent = [*packets(), *packets(1, each=20_000)]
    command = [sys.executable, "-c", READ_WITH_DV, str(port), "20200", str(tmp_path / "dv.npy")]
    with subprocess.Popen(command) as reader:
        met(sink)
        for part in sent:
            sink.send(part)
        assert reader.wait(40) == 0
    sink.close()
    found, expected = np.load(tmp_path / "dv.npy"), np.concatenate(sent)
    for ours, theirs in (("t", "timestamp"), ("x", "x"), ("y", "y"), ("p", "polarity")):
        assert np.array_equal(found[theirs], expected[ours])


def test_a_reader_that_leaves_is_missed_and_what_nobody_receives_is_counted() -> None:
    sink = DvSink(SENSOR, "127.0.0.1", port := free_port())
    with socket.create_connection(("127.0.0.1", port)):
        met(sink)
    until(lambda: not sink.n_clients)
    sink.send(packets(1)[0])
    sink.close()
    assert (sink.n_sent, sink.n_dropped, sink.n_missed) == (0, 0, 10)


@pytest.fixture
def recording(tmp_path: Path) -> tuple[Path, Events]:
    path, n = tmp_path / "a.npz", 2100
    events = make_events(np.arange(n) * 1000, np.arange(n) % 40, np.full(n, 3), np.ones(n))
    write_recording(path, events, SENSOR)
    return path, events


def test_to_udp(recording: tuple[Path, Events], ask: Ask) -> None:
    path, events = recording
    address = f"udp://127.0.0.1:{free_port()}?format=aestream&size=40x30"
    with open_source(address) as source:
        said = ask("play", path, "--to", address, "--speed", "50").out
        assert np.array_equal(read_to(len(events), source.read), events)
    assert "2,100 events sent" in said


def test_a_camera_that_nobody_comes_to(recording: tuple[Path, Events], ask: Ask) -> None:
    words = ["--to", f"dv://127.0.0.1:{free_port()}", "--wait", "0"]
    assert "nobody connected within 0 s" in ask("play", recording[0], *words, code=1).err
