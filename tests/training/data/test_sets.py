"""Names of samples and splits that every seed or every name decides alike."""

from pathlib import Path

import numpy as np
import pytest

from spikesight.training.data.sets import DataError, Item, split_by_name, split_indices


def test_a_samples_name_is_its_file_and_its_windows_begin() -> None:
    path = Path("Train") / "3" / "00001.bin"
    assert Item(path, 3).name == "3/00001.bin"
    assert Item(path, 3, begin_us=1_500_000).name == "3/00001.bin", "whole recordings have no window"
    assert Item(path, 3, begin_us=1_500_000, length_us=1).name == "3/00001.bin@1.500s"
    assert Item(path, 3, length_us=1).name == "3/00001.bin@0.000s"


@pytest.mark.parametrize(
    ("count", "fraction", "chosen"), [(2, 0.9, 1), (10, 0.01, 1), (10, 0.25, 2), (10, 0.36, 4), (5, 1.0, 4)]
)
def test_a_share_of_each_class_at_least_one_and_never_all(count: int, fraction: float, chosen: int) -> None:
    labels = np.repeat([4, 7], count)
    names = [f"a/{n}" for n in range(2 * count)]
    for rest, picked in (split_indices(labels, fraction, 0), split_by_name(names, labels, fraction)):
        assert [int((labels[picked] == label).sum()) for label in (4, 7)] == [chosen, chosen]
        assert sorted([*rest, *picked]) == list(range(2 * count))
        assert list(rest) == sorted(rest)
        assert list(picked) == sorted(picked)


def test_a_class_of_one_sample_cannot_be_split() -> None:
    labels = np.array([0, 0, 1])
    for split in (lambda: split_indices(labels, 0.2, 0), lambda: split_by_name("abc", labels, 0.2)):
        with pytest.raises(DataError, match="every class needs at least two samples"):
            split()


def test_seeds_differ_and_names_stay() -> None:
    labels = np.zeros(40, int)
    draws = {tuple(split_indices(labels, 0.3, seed)[1]) for seed in range(5)}
    assert len(draws) == 5
    names = [f"a/{n}" for n in range(40)]
    _, first = split_by_name(names, labels, 0.3)
    _, turned = split_by_name(names[::-1], labels, 0.3)
    assert {names[n] for n in first} == {names[::-1][n] for n in turned}, "whatever the order of the files"
