"""Generate docs/results/corruptions.md and the tables in the shipped models' cards from the results of `spikesight
evaluate --corrupt`, training/results/<model>/corruptions.json.
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
of date. Each row is one corruption at one strength, applied to every recording before the filter and the network
(`encoders/emulator/corruptions.py`; modelled on ImageNet-C and DVS-Gesture-C). "Emulated threshold" rows show the
recordings' original images to an emulated camera with that contrast threshold. No network was trained on
these corruptions, and the only choice (the strict filter) was made on validation recordings. "Right" counts the best
class of whole recordings, known or not; "unknown" is the share of windows that `known` rejects. Intervals are
Wilson's at 95 %.

Goals: a mean loss of at most 3 points and no row below 90 % for `nmnist`, a mean loss of at most 8 for `motions`.
A rotation by 30 degrees misses it; training rotates digits by up to 25. Most mirrored digits are no digits, so they count in
no mean: they should be unknown, and three of ten are not. Correctly classified digits are often called unknown with noise of
20 Hz a pixel, much of which passes the filter, when most of the light changes at once, and at four times the speed.
"""


def kept(model: str) -> dict[str, Any]:
    """Read the stored results of a model."""
    return json.loads((ROOT / "training" / "results" / model / "corruptions.json").read_text())


def table(found: dict[str, Any]) -> Iterator[str]:
    """Yield the table, one line a corruption, and the mean loss."""
    yield "| corruption | strength | right | 95 % interval | unknown, % |\n|---|---|---|---|---|"
    for row in found["corruptions"]:
        low, high = (f"{100 * side:.0f}" for side in row["interval"])
        right = f"{row['correct']} of {row['count']} | {low} to {high} %"
        yield f"| {row['name']} | {row['strength']} | {right} | {100 * row['refused']:.0f} |"
    worst = found["worst"]
    name = f"{worst['name']}, {worst['strength']}: {100 * worst['accuracy']:.0f} %"
    yield f"\nLost by a corruption, in the mean: {found['mean_loss']:.1f} points; the worst is {name}."


def section(model: str) -> Iterator[str]:
    """Yield a model's section: its data and its table."""
    found = kept(model)
    yield f"{found['data']}, on an {found['processor']}: `{found['command']}`.\n"
    yield from table(found)


def page() -> str:
    """Return docs/results/corruptions.md."""
    parts = [HEAD]
    for model in MODELS:
        parts += [f"## `{model}`\n", *section(model), ""]
    return "\n".join(parts)


def card(model: str) -> str:
    """Return the model's card with its last section generated anew."""
    before = (ROOT / "models" / "shipped" / model / "README.md").read_text().partition(TITLE)[0]
    return before.rstrip() + f"\n\n{TITLE}\n\n" + "\n".join(section(model)) + "\n"
