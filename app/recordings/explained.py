"""Run a recording through a model for Rerun's viewer: `spikesight play FILE --to rerun:FILE.rrd?model=NAME`."""

from collections.abc import Iterator
from contextlib import closing

from spikesight.encoders.events import Events, SensorSize
from spikesight.models.classifier import Classifier, Stepper
from spikesight.models.classifier.session import Session
from spikesight.models.shipped import DEFAULT_MODEL, find
from spikesight.models.steps import Input
from spikesight.service.sinks.delivery import open_delivery


def explain(source: str, packets: Iterator[Events], size: SensorSize, address: str) -> int:
    """Write every step of the model named in the address (or the default) to a file; return the number of steps.

    Raises SinkError, CheckpointError, and ValueError for an image model.
    """
    place, _, name = address.partition("?model=")
    classifier = Classifier.load(find(name or DEFAULT_MODEL))
    session = Session(classifier, size)
    if not session.takes_events:
        raise ValueError(f"{classifier.name} takes images, not events")
    stepper = Stepper(classifier, session.track)
    with closing(open_delivery(place)) as file:
        for given in _inputs(session, packets):
            file.on_step(source, classifier, [given], stepper.step(given))
    return file.n_sent


def _inputs(session: Session, packets: Iterator[Events]) -> Iterator[Input]:
    """Yield the inputs of every bin, with times from the first event on."""
    first_us: int | None = None
    for packet in packets:
        first_us = int(packet["t"][0]) if first_us is None else first_us
        moved = packet.copy()
        moved["t"] -= first_us
        yield from session.push(moved)
    yield from session.flush()
