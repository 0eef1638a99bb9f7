"""One rule for a model's name, whatever else is used beside it."""

from pathlib import Path

import pytest

from models.contract import CheckpointError
from models.shipped import name_of, names


def test_a_models_name_does_not_depend_on_its_company() -> None:
    gestures, other = Path("runs/gestures/model"), Path("runs/other/model")
    assert names([gestures]) == ["gestures"] == [name_of(gestures)]
    assert names([gestures, other, Path("mine")]) == ["gestures", "other", "mine"]


@pytest.mark.parametrize("folders", [["a/x", "b/x"], ["runs/x/model", "x"], ["with space"], [".hidden"]], ids=str)
def test_a_name_that_two_share_or_no_url_can_hold_is_refused(folders: list[str]) -> None:
    with pytest.raises(CheckpointError, match="needs another name"):
        names([Path(folder) for folder in folders])
