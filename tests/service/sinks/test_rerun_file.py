"""rerun:FILE.rrd: what Rerun's own reader finds in it, and the sentences where it cannot be written."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikesight.app import cli
from spikesight.encoders.events import NMNIST_SENSOR
from spikesight.encoders.recordings.files import write_recording
from spikesight.encoders.sources.samples import events_of
from spikesight.models.classifier import Classifier
from spikesight.models.shipped import find
from spikesight.service.sinks.delivery import open_deliveries, open_delivery, public_name
from spikesight.service.sinks.messages import SinkError


def columns(path: Path) -> dict[str, tuple[list[float], list[Any]]]:
    """Of each entity the times, in seconds, and the values of its first component."""
    reader = pytest.importorskip("rerun.chunk", reason="needs rerun-sdk: pip install 'spikesight[rerun]'").RrdReader
    found: dict[str, tuple[list[float], list[Any]]] = {}
    for chunk in reader(path).stream():
        batch = chunk.to_record_batch()
        if "time" not in batch.schema.names:
            continue
        times, values = found.setdefault(chunk.entity_path, ([], []))
        times += [one.total_seconds() for one in batch.column("time").to_pylist()]
        (name,) = [one for one in batch.schema.names if one.endswith((":scalars", ":text", ":buffer"))]
        values += batch.column(name).to_pylist()
    return found


@pytest.mark.parametrize("command", ["webcam --no-window --source digit-3", "play digit-3"])
def test_events_spikes_evidence_and_label_lie_on_one_line(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rerun", reason="needs rerun-sdk: pip install 'spikesight[rerun]'")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "seen.rrd"
    if command.startswith("play"):
        write_recording("digit-3", events_of("digit-3"), NMNIST_SENSOR, "nmnist")
    assert cli.main([*command.split(), "--to", f"rerun:{path}"]) == 0
    model = Classifier.load(find("nmnist"))
    inputs = model.event_inputs(events_of("digit-3"), NMNIST_SENSOR)
    answers = model.predict(inputs)
    found = columns(path)
    assert sorted(found) == ["/digit-3/events", "/digit-3/evidence", "/digit-3/label", "/digit-3/spikes"]
    times = [round(answer.end_us * 1e-6, 6) for answer in answers]
    for what in ("events", "evidence", "spikes"):
        assert [round(time, 6) for time in found[f"/digit-3/{what}"][0]] == times
    assert np.allclose(found["/digit-3/evidence"][1], [answer.probabilities for answer in answers])
    assert [sum(spikes) for spikes in found["/digit-3/spikes"][1]] == [answer.spikes for answer in answers]
    assert [text for (text,) in found["/digit-3/label"][1]] == ["3"]
    pictures = [np.array(one, np.uint8).reshape(34, 34, 3) for (one,) in found["/digit-3/events"][1]]
    lit = [int((picture != picture[0, 0]).any(2).sum()) for picture in pictures]
    assert lit == [int(given.x.any(0).sum()) for given in inputs]


def test_what_cannot_be_written_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SinkError, match=r"^a recording for Rerun's viewer is rerun:FILE.rrd$"):
        open_delivery("rerun:seen.txt")
    assert public_name("rerun:/secret/seen.rrd") == "rerun:seen.rrd"
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(SinkError, match=r"pip install 'spikesight\[rerun\]'$"):
        open_deliveries([f"file:{tmp_path / 'a'}", f"rerun:{tmp_path / 'seen.rrd'}"])
    assert not (tmp_path / "seen.rrd").exists()


def test_what_plays_nothing_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording, path = tmp_path / "a.bin", tmp_path / "seen.rrd"
    write_recording(recording, events_of("digit-3"), NMNIST_SENSOR)
    for query, words in (("?model=mnist-direct", "takes images, not events"), ("?model=none", "none")):
        assert cli.main(["play", str(recording), "--to", f"rerun:{path}{query}"]) == 2
        assert words in capsys.readouterr().err
    recording.write_bytes(b"no events")
    assert cli.main(["play", str(recording), "--to", f"rerun:{path}"]) == 2
    assert not path.exists()
