"""docs/results/corruptions.md, and its tables in the cards of the shipped models: what `spikesight evaluate --corrupt`
measured, from training/results/<model>/corruptions.json.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MODELS = ("nmnist", "motions")
TITLE = "## Corruptions of scene and camera"
HEAD = """# Corruptions of scene and camera

Written by `docs/make/make_docs.py` from `training/results/<model>/corruptions.json`; a test fails when this page is out
of date. Each row is one corruption at one strength, done to every recording before the filter and the network
(`encoders/emulator/corruptions.py`; after ImageNet-C, as DVS-Gesture-C has it for events); "emulated threshold" rows
are the images behind the recordings, before an emulated camera of that contrast threshold. No network was trained on
any of it as such, and what was chosen (the strict filter) was chosen on validation recordings. Right counts the best
class of whole recordings, known or not; "unknown" is the share of windows that `known` refuses. Intervals are
Wilson's at 95 %.

Goals: a mean loss of at most 3 points and no row below 90 % for `nmnist`, a mean loss of at most 8 for `motions`.
Short is a turn by 30 degrees; digits turned by up to 25 train. Mirrored digits, most of which are none, count in no
mean: they should be unknown, and four of ten are not. Digits that are right are refused all the same with noise of 20 Hz
a pixel, of which the filter leaves too much, and where most of the light changes at a step.
"""


def kept(model: str) -> dict[str, Any]:
    """What was measured of a model."""
    return json.loads((ROOT / "training" / "results" / model / "corruptions.json").read_text())


def table(found: dict[str, Any]) -> Iterator[str]:
    """One line a corruption, and their mean loss."""
    yield "| corruption | strength | right | 95 % interval | unknown, % |\n|---|---|---|---|---|"
    for row in found["corruptions"]:
        low, high = (f"{100 * side:.0f}" for side in row["interval"])
        right = f"{row['correct']} of {row['count']} | {low} to {high} %"
        yield f"| {row['name']} | {row['strength']} | {right} | {100 * row['refused']:.0f} |"
    worst = found["worst"]
    name = f"{worst['name']}, {worst['strength']}: {100 * worst['accuracy']:.0f} %"
    yield f"\nLost by a corruption, in the mean: {found['mean_loss']:.1f} points; the worst is {name}."


def section(model: str) -> Iterator[str]:
    """A model's data and table."""
    found = kept(model)
    yield f"{found['data']}, on an {found['processor']}: `{found['command']}`.\n"
    yield from table(found)


def page() -> str:
    """docs/results/corruptions.md."""
    parts = [HEAD]
    for model in MODELS:
        parts += [f"## `{model}`\n", *section(model), ""]
    return "\n".join(parts)


def card(model: str) -> str:
    """The model's card, its last section made anew."""
    before = (ROOT / "models" / "shipped" / model / "README.md").read_text().partition(TITLE)[0]
    return before.rstrip() + f"\n\n{TITLE}\n\n" + "\n".join(section(model)) + "\n"
