"""The windows of recordings: a model's best guesses at their ends and the counts that kernel machines see of them; and
how often a test split was read.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikesight.models.classifier import Classifier, InputPipeline, Stepper
from spikesight.training.data.own import SPARSE
from spikesight.training.run.baselines import log_counts
from spikesight.training.run.readings import Source, packets_of

READS = "reads.jsonl"  # in the data folder: one line for each time that a test split is read


class Windows(NamedTuple):
    """M windows of T inputs of R recordings; the rest of a recording is one from half a window on, or alone."""

    truth: NDArray[np.int64]  # [M], the model's class; -1: none of them
    chosen: NDArray[np.int64]  # [M], the best guess at the window's end
    counts: NDArray[np.float32]  # [M, F], log event counts
    recording: NDArray[np.int64]  # [M]
    recordings: int  # R; one whose windows hold hardly any events has none


def read_windows(classifier: Classifier, sources: Sequence[Source]) -> Windows:
    """Run a model on every recording, window by window, with its state going on."""
    contract, rows = classifier.contract, list[tuple[int, int, int, int, NDArray[np.float32]]]()
    place = {label: n for n, label in enumerate(classifier.labels)}
    for number, source in enumerate(sources):
        sensor, packets = packets_of(source.item)
        inputs = InputPipeline(replace(classifier.card, profile=None), sensor).recording(packets)
        stepper, begun = Stepper(classifier), len(rows)
        while part := list(islice(inputs, contract.steps)):
            *_, answer = stepper.steps(part)
            if len(rows) > begun and 2 * len(part) < contract.steps:
                break
            frames = np.zeros((1, contract.steps, *contract.shape), np.uint8)
            frames[0, : len(part)] = [given.whole(contract.shape) for given in part]
            events = sum(given.n_events for given in part)
            rows.append((number, events, place.get(source.label, -1), answer.prediction.index, log_counts(frames)[0]))
    least = max(1.0, SPARSE * float(np.median([events for _, events, *_ in rows])))
    recording, _, truth, chosen, counts = zip(*([row for row in rows if row[1] >= least] or rows))
    return Windows(*map(np.array, (truth, chosen)), np.stack(counts), np.array(recording), len(sources))  # type: ignore[call-arg]


def count_read(root: Path, name: str, by: str) -> int | None:
    """Record in `root` that `by` reads a set's test split; return how often it was read (None: cannot be recorded)."""
    line = json.dumps({"set": name, "by": by, "date": date.today().isoformat()}) + "\n"
    try:
        with (root / READS).open("a") as file:
            file.write(line)
        lines = (root / READS).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    found = 0
    for one in lines:
        with suppress(ValueError, TypeError, KeyError):  # a line in another form
            found += json.loads(one)["set"] == name
    return found
