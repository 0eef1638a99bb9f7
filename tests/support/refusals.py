"""Refusals: one sentence for people, whatever was wrong."""

from collections.abc import Callable

import pytest


def refusal(door: Callable[[], object], match: str) -> str:
    """The sentence of the refusal, which is a ValueError without a word of other libraries."""
    with pytest.raises(ValueError, match=match) as caught:
        door()
    said = str(caught.value)
    assert "\n" not in said
    assert not any(word in said for word in ("numba", "numpy.", "cv2", "Traceback", "object has no"))
    return said
