"""Cost of the out-of-distribution score `known` and of commitments: a stream's step with and without them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.common.timing import begin, paired, print_table
from spikesight.models.classifier import Classifier, Stepper
from spikesight.models.engine.engine import engine_status
from spikesight.models.steps import Input
from spikesight.training.data.recordings import Item, read_item

STEPS = 200  # of a round
ROUNDS = 101  # many short rounds: their median ratio is stable on a busy machine


def inputs_of(classifier: Classifier, recordings: Sequence[Item]) -> list[Input]:
    """Return STEPS inputs of one stream that plays recordings one after another."""
    steps = [given for item in recordings for given in classifier.event_inputs(*read_item(item))]
    return [steps[n % len(steps)]._replace(reset=False) for n in range(STEPS)]


def stepping(classifier: Classifier, inputs: list[Input]) -> float:
    """Return the median wall time of a network step in milliseconds, with an answer after each step."""
    stepper = Stepper(classifier)
    return float(np.median([stepper.step(given).prediction.latency_ms for given in inputs]))


def rows(classifier: Classifier, recordings: Sequence[Item]) -> None:
    """Measure and report the table of one calibrated event model."""
    begin(engine_status())
    plain = Classifier(classifier.network, replace(classifier.card, novelty=None, conformal=None), classifier.name)
    judged = Classifier(classifier.network, replace(classifier.card, conformal=None), classifier.name)
    inputs = inputs_of(classifier, recordings)
    timings = paired(
        {
            "without known": lambda: stepping(plain, inputs),
            "with known": lambda: stepping(judged, inputs),
            "with known and commitments": lambda: stepping(classifier, inputs),
        },
        "without known",
        ROUNDS,
    )
    print_table(f"{classifier.name}: a step of one stream, with its answer", timings, "without known", per=STEPS)
