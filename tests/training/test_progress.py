"""What a run shows: bars that leave no trace and stay away from files, lines that do not wait in a buffer."""

import io
from typing import Any

import pytest

from spikesight.training import progress


class Pipe(io.StringIO):
    """Where lines are buffered until they are flushed."""

    out = ""

    def flush(self) -> None:
        self.out = self.getvalue()


def test_a_line_is_out_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Pipe()
    monkeypatch.setattr("sys.stdout", pipe)
    progress.say("epoch 1/2")
    assert pipe.out == "epoch 1/2\n"


def test_a_bar_goes_when_it_is_done_and_is_drawn_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(progress, "tqdm", lambda items, *words, **more: asked.append((words, more)) or items)
    assert list(progress.counted([1, 2], "reading", "file", 2)) == list(progress.counted([1, 2], "reading")) == [1, 2]
    how = {"leave": False, "mininterval": 1, "disable": None}  # None: not where standard error is no terminal
    assert asked == [(("reading", 2), {"unit": "file", **how}), (("reading", None), {"unit": "it", **how})]
