"""Baselines on log counts and on pixels, and how a network stands beside them."""

from pathlib import Path

import numpy as np
import pytest

from spikesight.training.run.baselines import Pairs, log_counts, pixels, sentences
from spikesight.training.run.fit import fit
from tests.support.inputs.data_sets import small_config, write_stripes


def test_counts_lose_no_event_and_know_place_polarity_and_order() -> None:
    frames = np.zeros((2, 6, 2, 40, 32), np.uint8)
    frames[0, :, 1, :20] = 1  # ON above, all the time
    frames[1, 5, 0, 20:] = 1  # OFF below, at the end
    counts = np.expm1(log_counts(frames)).reshape(2, -1, 2, 16, 16)
    assert counts.sum((1, 2, 3, 4)) == pytest.approx(frames.sum((1, 2, 3, 4)))
    assert not counts[0, :, 0].any()
    assert not counts[0, :, 1, 9:].any()
    assert not counts[1, :-1].any()


def test_pixels_know_place_and_colour_in_shares_of_white() -> None:
    pictures = np.zeros((1, 1, 3, 32, 8), np.uint8)
    pictures[0, 0, 2, 16:] = 255  # blue below
    pictures[0, 0, 0, 0] = 51  # a red line of a place's two
    seen = pixels(pictures).reshape(3, 16, 8)
    assert seen[2, 8:] == pytest.approx(1)
    assert seen[0, 0] == pytest.approx(0.1)
    assert seen.sum() == pytest.approx(8 * 8 + 0.1 * 8)


def test_pictures_have_baselines_that_learn_the_training_ones(tmp_path: Path) -> None:
    write_stripes(tmp_path / "pictures")
    options = {"height": 32, "width": 32, "network": "image-small", "epochs": 1, "epoch_steps": 1}
    metrics = fit(small_config(tmp_path, data=str(tmp_path / "pictures"), **options), tmp_path / "run")
    rows = metrics["baselines"]
    assert [row["count"] for row in rows] == [metrics["test"]["count"]] * 2
    assert rows[1]["correct"] == 24, "stripes are told by a kernel machine"
    assert all("on pixels" in line and "pictures better" in line for line in sentences(rows))
    assert "on pixels" in (tmp_path / "run" / "model" / "README.md").read_text()


def test_pairs_count_recordings_and_not_their_windows() -> None:
    truth, recording = np.repeat([0, 1, 0, 1], 50), np.repeat(np.arange(4), 50)
    better = Pairs(truth, truth, recording).beside({"always 0": np.zeros_like(truth)})[0]
    assert (better["won"], better["lost"], better["correct"]) == (2, 0, 100)
    assert better["p"] == 0.5  # two coins
    assert Pairs(truth, truth, recording).beside({"the same": truth})[0]["p"] == 1
