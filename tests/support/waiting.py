"""Waiting for what another thread or process does."""

import time
from collections.abc import Callable

PATIENCE_S = 60.0
"""How long what must come may take on a busy machine."""


class Clock:
    """Seconds that pass when they are told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def until(true: Callable[[], object], what: str = "it did not happen", seconds: float = PATIENCE_S) -> None:
    """Look again and again until it is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"after {seconds} s: {what}"
        time.sleep(0.01)
