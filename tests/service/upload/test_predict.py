"""An answer as the wire has it: the last step speaks, times are rounded, what was not asked for is left out."""

import asyncio
from typing import Any

import pytest
from starlette.requests import Request

from spikesight.encoders.events import SensorSize
from spikesight.encoders.roi.input_filter import InputFilter
from spikesight.encoders.roi.window import Window
from spikesight.models.steps import Answer, Prediction
from spikesight.service.http.errors import ServiceError
from spikesight.service.http.metrics import Metrics
from spikesight.service.scheduler.registry import Model
from spikesight.service.scheduler.request import Result
from spikesight.service.scheduler.threads import Mailbox
from spikesight.service.upload.predict import Options, answer_body, read_body
from tests.support.models import tiny
from tests.support.serving.servers import settings


def prediction(step: int, index: int) -> Prediction:
    spread = [0.1, 0.2, 0.3]
    spread[index] += 0.4
    return Prediction(
        step=step, start_us=step * 1000, end_us=step * 1000 + 999, label=f"label {step}", index=index,
        probabilities=tuple(spread), logits=(1.0, 2.0, 3.0), n_events=step + 4, spikes=step + 5, synops=step + 6,
        latency_ms=0.5, known=0.25, committed="c", set=("d",), risk=0.125,
    )  # fmt: skip


def result(*steps: int) -> Result:
    answers = [Answer(prediction(step, step % 3), "", [], False, 0, 0) for step in steps]
    return Result(
        answers=answers, steps=9, spikes=31, synops=32, n_events=33, logits=[0.5, 1.5, 2.5], queue_ms=1.23456,
        infer_ms=2.34567, early=True, made_s=0.0, tick=0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(tiny(), settings(), Metrics(), Mailbox())


def test_the_last_step_speaks_and_what_was_asked_for_is_added(model: Model) -> None:
    body = answer_body(model, "recording", result(1, 2), Options(), [], None)
    assert (body.model, body.kind, body.label, body.index, body.confidence) == ("tiny", "recording", "label 2", 2, 0.7)
    assert body.probabilities == {"zero": 0.1, "one": 0.2, "two": pytest.approx(0.7)}
    assert (body.step, body.spikes, body.synops, body.n_events, body.early) == (9, 31, 32, 33, True)
    assert (body.latency_ms, body.queue_ms) == (2.346, 1.235), "rounded to microseconds"
    left_out = body.steps, body.logits, body.warnings, body.window, body.events_in, body.events_kept
    assert left_out == (None,) * 6
    filtered = InputFilter(SensorSize(64, 48), SensorSize(34, 34), fixed=Window(1, 2, 30))
    filtered.n_events, filtered.n_kept = 7, 5
    body = answer_body(model, "image", result(1, 2), Options(logits=True, steps=True), ["odd"], filtered)
    assert (body.logits, body.warnings, body.window) == ([0.5, 1.5, 2.5], ["odd"], (1, 2, 30))
    assert (body.events_in, body.events_kept) == (7, 5)


@pytest.mark.parametrize("logits", [True, False])
def test_every_step_has_its_own_fields(model: Model, logits: bool) -> None:
    steps = answer_body(model, "image", result(1, 2), Options(logits=logits, steps=True), [], None).steps
    assert steps is not None
    for number, own in zip((1, 2), steps, strict=True):
        wanted: dict[str, Any] = {**vars(prediction(number, number % 3)), "confidence": max(own.probabilities)}
        del wanted["latency_ms"]
        assert own.model_dump() == wanted | {
            "probabilities": pytest.approx(wanted["probabilities"]), "logits": [1, 2, 3] if logits else None,
        }  # fmt: skip


def posted(kind: str | None, name: str = "") -> tuple[bytes, str]:
    headers = [] if kind is None else [(b"content-type", kind.encode())]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"bytes", "more_body": False}

    return asyncio.run(read_body(Request({"type": "http", "method": "POST", "headers": headers}, receive), name))


@pytest.mark.parametrize("kind", [None, "image/png", "IMAGE/JPEG; q=1", "application/octet-stream", "image/x-ms-bmp"])
def test_raw_bytes_have_the_name_they_are_sent_with(kind: str | None) -> None:
    assert posted(kind, "a.bin") == (b"bytes", "a.bin")
    assert posted(kind) == (b"bytes", "")


@pytest.mark.parametrize("kind", ["text/html", "application/json", "image/gif", "multipart/mixed"])
def test_bodies_of_other_kinds_are_refused(kind: str) -> None:
    with pytest.raises(ServiceError, match="send multipart/form-data with a field 'file'") as caught:
        posted(kind)
    assert caught.value.status == 415
