"""One number a model: what a card's metrics say, its page, the README and the board say, too."""

import json
from pathlib import Path
from typing import Any

import pytest

from spikesight.models.checkpoint import read_config
from spikesight.models.shipped import shipped
from spikesight.models.statistics import accuracy_of

ROOT = Path(__file__).resolve().parents[2]
BOARD = json.loads((ROOT / "training" / "results" / "board.json").read_text())
ROWS = {
    "nmnist": "nmnist: nmnist",
    **{name: f"mnist: {name}" for name in ("mnist-direct", "mnist-converted", "mnist-ann")},
}


def figures_of(name: str) -> dict[str, Any]:
    return read_config(shipped()[name])[2].metrics["test"]


@pytest.mark.parametrize("name", list(shipped()))
def test_a_models_page_has_the_figures_of_its_card(name: str) -> None:
    test, page = figures_of(name), (shipped()[name] / "README.md").read_text()
    for column, words in ((test, "right on test data, as shown"), (test["best_guess"], "best guess right")):
        exact = accuracy_of(column["correct"], column["count"])
        assert column["accuracy"] == exact["accuracy"]
        assert column["interval"] == pytest.approx(exact["interval"])
        low, high = (f"{100 * side:.1f}" for side in column["interval"])
        (row,) = [line for line in page.splitlines() if line.startswith(f"| {words}") and " of " in line]
        assert f"{100 * column['accuracy']:.2f} % of {column['count']}" in row
        assert f"{low} to {high}" in row
    assert f"read {test['reads']} times" in page
    assert test["correct"] <= test["best_guess"]["correct"], "what is shown right is guessed right"


@pytest.mark.parametrize("name", list(ROWS))
def test_the_boards_row_is_the_cards(name: str) -> None:
    (row,) = [row for row in BOARD["rows"] if row["name"] == ROWS[name]]
    test, figures = figures_of(name), row["figures"]
    assert figures["accuracy"] == pytest.approx(test["best_guess"]["accuracy"]), "which methods that refuse none have"
    assert figures["right"] == pytest.approx(test["accuracy"])
    assert figures["reads"] <= test["reads"]
