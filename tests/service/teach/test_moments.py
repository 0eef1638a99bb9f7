"""Which windows in doubt wait for a name: the least sure, one of each doubt, and no more than were asked for."""

from dataclasses import replace

import numpy as np

from spikesight.models.steps import Input, Prediction
from spikesight.service.teach.moments import Moments, sureness
from tests.support.models import PREDICTION
from tests.support.serving.http import refused

WINDOW = [Input(np.ones((2, 4, 4), np.uint8), 0, 1, 1, False)]


def said(best: float, index: int = 0, known: float | None = 1.0) -> Prediction:
    probabilities = (best, 1 - best) if index == 0 else (1 - best, best)
    return replace(PREDICTION, probabilities=probabilities, index=index, known=known)


def test_doubt_is_a_small_lead_or_a_strange_input() -> None:
    order = [said(0.5), said(0.7), said(0.99, known=0.45), said(0.8), said(0.9), said(0.9, known=None)]
    assert [sureness(one) for one in order] == sorted(sureness(one) for one in order)
    assert sureness(replace(PREDICTION, probabilities=(1.0,), index=0, known=None)) == 1


def test_one_doubt_is_one_moment_and_the_least_sure_window_of_it() -> None:
    moments = Moments(5)
    for best in (0.6, 0.55, 0.7):
        moments.offer("a", WINDOW, said(best))
    moments.offer("b", WINDOW, said(0.58))
    moments.offer("a", WINDOW, said(0.65, index=1))  # another thing
    moments.offer("a", WINDOW, said(0.99))
    moments.offer("a", WINDOW, said(0.69, index=1))
    found = [(moment.source, max(moment.prediction.probabilities)) for moment in moments.all()]
    assert found == [("a", 0.55), ("b", 0.58), ("a", 0.65), ("a", 0.69)]


def test_no_more_wait_than_were_asked_for_and_the_surest_gives_way() -> None:
    moments, none = Moments(2), Moments(0)
    for number, best in enumerate((0.7, 0.51, 0.6, 0.74, 0.52)):
        for kept in (moments, none):
            kept.offer(str(number), WINDOW, said(best))
    assert [moment.source for moment in moments.all()] == ["1", "4"]
    assert none.all() == []


def test_what_another_head_is_sure_of_waits_no_longer() -> None:
    moments = Moments(3)
    for source in "abc":
        moments.offer(source, WINDOW, said(0.6))
    first, second, third = moments.all()
    moments.update({first.number: said(0.95), second.number: said(0.51), 99: said(0.5)})
    assert [moment.number for moment in moments.all()] == [second.number, third.number]
    moments.drop(third.number)
    for number in (first.number, third.number, 0):
        assert refused(moments.get, number)[0] == 404
