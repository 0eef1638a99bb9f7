"""Break-even densities: the class of a convolution, the shipped numbers, and what a machine keeps."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from spikesight.models.engine import densities
from spikesight.models.engine.densities import KINDS, Kind, break_even, default, describe, keep, read_kept, table
from spikesight.models.native.build import library


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the table of this machine would lie; there is none yet."""
    monkeypatch.setattr(densities, "kept_file", lambda: tmp_path / "kept.json")
    table.cache_clear()
    yield tmp_path / "kept.json"
    table.cache_clear()


@pytest.mark.parametrize(
    ("channels", "width"),
    [(1, 64), (63, 64), (64, 64), (127, 64), (128, 128), (255, 128), (256, 256), (512, 512), (2048, 512)],
)
def test_the_class_of_a_convolution(channels: int, width: int) -> None:
    assert Kind.of(channels, 7, binary=True, product="float") == Kind("float", 3, True, width)
    assert Kind.of(channels, 1, binary=False, product="pairs") == Kind("pairs", 1, False, width)


def measured(value: float) -> dict[Kind, float]:
    return dict.fromkeys(KINDS[:3], value)


def test_the_first_table_stays(file: Path) -> None:
    keep(measured(0.25))
    keep(measured(0.75))
    assert set(read_kept().values()) == {0.25}
    assert [path.name for path in file.parent.iterdir()] == ["kept.json"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"densities": 5}', '{"densities": {"a": "x"}}', '{"densities": {}}']
)
def test_one_that_cannot_be_trusted_is_as_none(text: str, file: Path) -> None:
    file.write_text(text)
    assert read_kept() == {}
    assert table() == {kind: default(kind) for kind in KINDS}


def test_shares_beyond_their_range_are_left_out(file: Path) -> None:
    values = {"none": -0.01, "least": 0, "most": 1, "more": 1.01}
    file.write_text(json.dumps({"densities": values}))
    assert read_kept() == {"least": 0.0, "most": 1.0}


def test_what_was_measured_is_chosen_by_and_said() -> None:
    if library() is None:
        pytest.skip("there are no kernels here")
    kind = Kind("float", 3, True, 128)
    assert break_even(130, 5, binary=True, product="float") == 0.36
    keep({kind: 0.17})
    assert break_even(130, 5, binary=True, product="float") == 0.17
    assert break_even(130, 5, binary=False, product="float") == 0.36
    assert "events are visited below float 17% of a 3x3 convolution (measured here)" in describe()
