"""Teach a head from a folder of recordings and save it as a checkpoint."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.recordings.files import digest
from spikesight.encoders.recordings.format import path_of
from spikesight.models.checkpoint import save
from spikesight.models.shipped import START
from spikesight.models.teach.advice import report
from spikesight.models.teach.few_shot import FewShotLearner, Taught, backbone
from spikesight.models.teach.head import folds
from spikesight.training.progress import with_progress
from spikesight.training.run.baselines import Pairs, log_counts, predictions
from spikesight.training.teach.examples import copies_for, plan, read_examples


def teach(
    data: Path | str,
    to: Path | str,
    *,
    features: str = START,
    shots: int = 0,
    seed: int = 0,
    layout: str = "auto",
    window_ms: int = 0,
    skip_bad: bool = False,
) -> dict[str, Any]:
    """Learn a head from the folder `data`, save the model to `to` and return a summary that JSON can hold.

    `features` names the frozen network. `shots` examples of each class are drawn at random (0: all are used). A folder
    of at least five short recordings a class is learnt by whole recordings, any other by windows. `skip_bad` goes
    on without files that cannot be read.
    Raises DataError, CheckpointError, RecordingError and OSError.
    """
    for path in (data, to):
        path_of(path)  # reject a bad path before learning
    begin = time.perf_counter()
    network, found = backbone(features), plan(data, layout, shots, seed, window_ms, skip_bad=skip_bad)
    learner = FewShotLearner(
        network, found.sensor, found.steps, found.bin_us, found.slices, copies_for(len(found.items))
    )
    files, inputs = list[str](), list[NDArray[np.float32]]()
    for item, example in zip(found.items, with_progress(read_examples(found), "showing", count=len(found.items))):
        if len(example.events) > 1:
            inputs.append(log_counts(learner.show(example)[None])[0])
            files.append(str(item.path))
    shown = time.perf_counter()
    taught = learner.learn()
    summary: dict[str, Any] = {
        "labels": list(taught.labels),
        "notes": list(found.notes),
        "examples": learner.counts(),
        "window_ms": found.steps * found.bin_us / 1000,
        "features": features,
        "input": taught.with_input,
        "held_out": "sessions" if found.sessions else "recordings",
        **report(taught, sessions=bool(found.sessions)),
        "baselines": _baselines(taught, np.stack(inputs), np.unique(files, return_inverse=True)[1]),
    }
    stamps = sorted({digest(item.path) for item in found.items})
    training = {
        "data": Path(data).resolve().name,
        "shots": shots,
        "seed": seed,
        "features": features,
        "recordings": stamps,
        **({"left_out": list(found.left_out)} if found.left_out else {}),
    }
    metrics = {key: summary[key] for key in ("accuracy", "correct", "count", "interval", "baselines")}
    save(to, *taught.checkpoint(training, metrics))
    end = time.perf_counter()
    return summary | {"model": str(to), "show_s": round(shown - begin, 2), "learn_s": round(end - shown, 2)}


def _baselines(taught: Taught, counts: NDArray[np.float32], recording: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Return how baselines do on the same examples, by event counts [M, F] and recordings [M], cross-validated with the
    same folds as the head.
    """
    fold, chosen = folds(taught.truth, taught.pieces), dict[str, NDArray[np.int64]]()
    for number in range(fold.max() + 1):
        out = fold == number
        for name, answers in predictions(counts[~out], taught.truth[~out], counts[out]).items():
            chosen.setdefault(name, np.full(len(fold), -1))[out] = answers
    judged = fold >= 0
    pairs = Pairs(taught.truth[judged], taught.judged.scores[judged].argmax(1), recording[judged])
    return pairs.beside({name: answers[judged] for name, answers in chosen.items()})
