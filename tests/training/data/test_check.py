"""Reads of a test split are counted."""

from pathlib import Path

from spikesight.training.data.check import READS, count_named_read


def test_reads_of_a_test_split_are_counted_by_set(tmp_path: Path) -> None:
    assert [count_named_read(tmp_path, "nmnist", "a model") for _ in range(3)] == [1, 2, 3]
    assert count_named_read(tmp_path, "mnist", "a model") == 1
    with (tmp_path / READS).open("a") as file:
        file.write("somebody's note\n[]\n{}\n")
    assert count_named_read(tmp_path, "nmnist", "another model") == 4
