"""Sink rerun:FILE.rrd for the viewer of rerun.io: events, spikes of every layer, evidence and label over time.

It is called for every step and has no queue, as it writes to a local file. Times are those of the source.
"""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from spikesight.models.classifier import Classifier
from spikesight.models.steps import Answer, Input
from spikesight.service.page.colours import COLOURS
from spikesight.service.sinks.messages import SinkError

GROUND, ON, OFF = (np.array(COLOURS[f"event-{name}"], np.uint8) for name in ("ground", "on", "off"))


class RerunFile:
    """A sink that writes whole steps to a file. Raises SinkError if it cannot, or if rerun-sdk is not installed."""

    n_dropped = n_waiting = 0

    def __init__(self, address: str) -> None:
        path = Path(address.removeprefix("rerun:"))
        if path.suffix != ".rrd":
            raise SinkError("a recording for Rerun's viewer is rerun:FILE.rrd")
        try:
            self._rerun: Any = importlib.import_module("rerun")
        except ImportError:
            raise SinkError("rerun: needs rerun-sdk: pip install 'spikesight[rerun]'") from None
        try:
            path.open("ab").close()
        except OSError as error:
            raise SinkError(f"cannot write to {address}: {(error.strerror or str(error)).lower()}") from None
        self.name, self.n_sent = f"rerun:{path.name}", 0
        self._stream = self._rerun.RecordingStream("spikesight")
        self._stream.save(path)
        self._shown: dict[str, str] = {}  # last label of each source

    def post(self, record: dict[str, Any]) -> None:
        """Do nothing: `on_step` has written the step already."""

    def on_step(self, source: str, classifier: Classifier, inputs: list[Input], answer: Answer) -> None:
        """Write a step: a source's inputs, and the answer after the last of them. Called from one thread."""
        rerun, log = self._rerun, self._stream.log
        if source not in self._shown:
            self._shown[source] = ""
            for what, names in (("spikes", classifier.layer_names), ("evidence", classifier.labels)):
                log([source, what], rerun.SeriesLines(names=list(names)), static=True)
        self._stream.set_time("time", duration=answer.prediction.end_us * 1e-6)
        if classifier.contract.kind == "events":
            log([source, "events"], rerun.Image(picture_of(inputs[-1].x)))
        if answer.layer_spikes:  # an ANN has none
            log([source, "spikes"], rerun.Scalars(answer.layer_spikes))
        log([source, "evidence"], rerun.Scalars(answer.prediction.probabilities))
        if answer.steady != self._shown[source]:
            log([source, "label"], rerun.TextLog(answer.steady))
        self._shown[source] = answer.steady
        self.n_sent += 1

    def close(self) -> None:
        """Write what is buffered and close the file."""
        self._stream.disconnect()


def picture_of(x: np.ndarray) -> np.ndarray:
    """Draw the network's input in a step, [2, H, W] OFF and ON, as RGB uint8 [H, W, 3]."""
    off, on = x != 0
    return np.where(on[..., None], ON, np.where(off[..., None], OFF, GROUND))
