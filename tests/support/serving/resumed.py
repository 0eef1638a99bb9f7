"""A stream that is written down and taken up elsewhere, now and then, beside the same stream undisturbed."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import astuple, replace
from typing import Any

import numpy as np

from spikesight.models.classifier.session import Session
from spikesight.models.steps import Answer, Input
from spikesight.service.stream.snapshot import pack, unpack
from tests.support.serving.streams import Alone

KEY = b"a key of the tests"
Act = Callable[[Session], list[Input]]
"""What a stream is given: a packet, a frame, a setting."""


def given(input: Input) -> tuple[Any, ...]:
    """All of an input that the network is fed or a client sees."""
    views = [(one.id, one.box, given(one.given)) for one in input.views]
    return (input.x.tobytes(), *input._replace(views=())[1:], views)


def said(answer: Answer) -> tuple[Any, ...]:
    """All of an answer but how long it took."""
    return (astuple(replace(answer.prediction, latency_ms=0)), *answer[1:])


def moved(alone: Alone, make: Callable[[], Session]) -> Alone:
    """The stream on a fresh session."""
    data = pack(alone.session, alone.state, KEY)
    other = Alone(make())
    other.go_on(unpack(other.session, data, KEY))
    return other


def played(
    make: Callable[[], Session], acts: Sequence[Act], moves: Collection[int] = (), *, step: bool = True
) -> list[Any]:
    """What comes of each act, the stream taken up anew before the numbered ones; `step`: by the network too."""
    alone, found = Alone(make()), []
    for number, act in enumerate(acts):
        if number in moves:
            alone = moved(alone, make)
        inputs = act(alone.session)
        pipeline = alone.session.pipeline
        counted = None if pipeline is None else pipeline.filter
        counts = () if counted is None else (counted.n_events, counted.n_kept, counted.n_outside)
        told = [said(answer) for answer in alone.step(inputs)] if step else []
        found.append(([given(one) for one in inputs], told, alone.session.window, counts))
    return found


def packets(events: np.ndarray, cuts: Collection[int]) -> list[Act]:
    """A recording cut at these events, and its end."""
    parts = np.split(events, sorted(cuts))
    return [*(lambda session, part=part: session.push(part) for part in parts), Session.flush]
