"""`spikesight calibrate`: calibrate a trained model's probabilities, out-of-distribution score and prediction sets."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spikesight.models.contract import Card
    from spikesight.training.config import TrainConfig

DESCRIPTION = """Calibrate a model: afterwards every prediction carries `in_distribution` in [0, 1],
labels may be "unknown" and "nothing", and probabilities are those of being right.

  spikesight calibrate mnist-ann --root DATA
  spikesight calibrate runs/mine/model --data my_recordings --to calibrated

Training does this by itself at its end; this command is for models trained before, converted ones, and other data.
The distance is fitted on the training samples, every threshold and the temperature on the validation samples of the
same split that the training made: never on a test sample, and on nothing that is to be rejected. The head of a run on
your own recordings has learnt from its validation samples: calibrate that with --data of others. Commitments are
calibrated on streams in which the validation recordings follow each other at random, with and without a gap (the
shipped digit model's, by `python -m corpora calibrate`, also 1,100 of emulated cameras). Of all things
that come into view, in each class, at most the error rate is committed to wrongly, if they are like those of the
calibration. At rates below 1 / (n + 1) nothing is committed to, if the smallest class has n recordings."""

CONTRACT = ("steps", "bin_us", "height", "width", "encoding", "filter_us")
"""Training settings that the model's contract fixes."""


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", help="a shipped model or a checkpoint folder; its file of weights is written anew")
    add("--data", help="what it was trained on: a name or a folder, as for train-dvs (default: by its card)")
    add("--root", help="where named data sets lie (default data)")
    add("--cache", help="where binned recordings are kept (as for train-dvs)")
    add("--to", type=Path, help="write the calibrated model to this folder and leave the other alone")


def settings(card: "Card", **given: str | int | None) -> "TrainConfig":
    """Return the training's settings for reading its data: from the model's card, overridden by `given`.

    Raises ValueError if neither names the data.
    """
    from spikesight.training.config import TrainConfig
    from spikesight.training.flags import SETTINGS, from_mapping

    given = {name: value for name, value in given.items() if value is not None}
    recipe = {name: v for name, v in card.training.get("recipe", {}).items() if name in SETTINGS}
    if "data" not in recipe.keys() | given:
        raise ValueError("the model's card does not say what it was trained on: give --data")
    own = {name: getattr(card.contract, name) for name in CONTRACT}
    own["crop"] = "object" if card.contract.frame == "object" else "none"
    return replace(from_mapping(TrainConfig(), recipe, "the model's card"), **given, **own)


def run(args: argparse.Namespace) -> int:
    from spikesight.models.checkpoint import load, save
    from spikesight.models.shipped import find
    from spikesight.training.data import list_data, load_data
    from spikesight.training.progress import say
    from spikesight.training.run.conformal import committing, takes_of
    from spikesight.training.run.novelty import calibrate_novelty, profile_of, with_bins

    folder = find(args.model)
    network, card = load(folder)
    config = settings(card, data=args.data, root=args.root, cache=args.cache)
    if (labels := list_data(config).labels) != card.labels:
        theirs = ", ".join(labels)
        raise ValueError(f"the data's classes are {theirs}; the model's are {', '.join(card.labels)}")
    say("reading what it was trained on ...")
    data = load_data(config)
    say("calibrating ...")
    known, measured = calibrate_novelty(network, data)
    card = replace(card, novelty=with_bins(network, data, known), metrics={**card.metrics, "known": measured})
    card = committing(network, replace(card, profile=profile_of(data)), takes_of(data))
    save(args.to or folder, network, card)
    print(
        f"{args.to or folder}: from {measured['training']} training and {measured['validation']} validation samples; "
        f"temperature {measured['temperature']}, expected calibration error "
        f"{measured['calibration_error_before']} -> {measured['calibration_error']}; commits {card.metrics['commits']}"
    )
    return 0
