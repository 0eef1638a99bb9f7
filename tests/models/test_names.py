"""One rule for a model's name, whatever else is used beside it."""

from pathlib import Path

import pytest

from spikesight.models.contract import CheckpointError
from spikesight.models.shipped import names, why_unfit


@pytest.mark.parametrize(
    "folders", [["a/x", "b/x"], ["runs/x/model", "X"], ["with space"], [".hidden"], ["x.steps"]], ids=str
)
def test_a_name_that_two_share_or_no_url_can_hold_is_refused(folders: list[str]) -> None:
    with pytest.raises(CheckpointError, match="needs another name"):
        names([Path(folder) for folder in folders])


@pytest.mark.parametrize(
    "name", ["gestures", "0", "a.b-c_d", "X" * 64, "lesson-3", "console", "steps", "model", "index-2"]
)
def test_good_names(name: str) -> None:
    assert not why_unfit(name)


TAKEN = ["index", "stats", "ready", "x.steps", "con", "nul.txt", "com1", "lpt9.a.b", "lesson-" + "0a" * 12]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "-x", "a.", "a/b", "a\\b", "a\0", "a\n", "x" * 65, "\u00e9", "\u212a", *TAKEN]
)
def test_names_that_no_model_may_have(name: str) -> None:
    assert why_unfit(name)
    assert why_unfit(name.upper()), "in no spelling"
