"""What sinks are told of a stream: changes of the steady label, or every step."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from spikesight.models.steps import Answer
from spikesight.service.sinks.report import Report, record_of
from tests.support.models import PREDICTION

STEP = replace(PREDICTION, probabilities=(0.123456, 0.876544), known=0.98765, committed="b")


def answer(steady: str) -> Answer:
    return Answer(STEP, steady, [], False, 0, 0)


@pytest.mark.parametrize(("every", "told"), [(False, ["a", "b", "a"]), (True, ["", "a", "a", "b", "b", "", "b", "a"])])
def test_changes_or_every_step(every: bool, told: list[str]) -> None:
    posted: list[dict[str, Any]] = []
    report = Report(posted.append, "cam", every_step=every)
    for steady in ("", "a", "a", "b", "b", "", "b", "a"):
        report.report_step("m", answer(steady))
    assert [record["label"] for record in posted] == told


def test_what_is_said_of_an_answer() -> None:
    before = datetime.now(UTC)
    record = record_of("cam", "m", answer("a"))
    at = datetime.fromisoformat(record.pop("time"))
    assert abs((at - before).total_seconds()) < 60
    assert at.utcoffset() is not None
    assert record == {
        "source": "cam", "model": "m", "t_us": 20_000, "step": 4, "label": "a", "step_label": "b",
        "probability": 0.8765, "known": 0.9877, "committed": "b",
    }  # fmt: skip
    unknown = answer("a")._replace(prediction=replace(STEP, known=None))
    assert record_of("cam", "m", unknown)["known"] is None
