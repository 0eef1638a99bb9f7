"""Refusals: one sentence for people, whatever was wrong."""

from collections.abc import Callable
from typing import Any

import pytest


def refusal(door: Callable[[], object], match: str, kind: Any = ValueError) -> str:
    """The sentence of the refusal, an error of this kind without a word of other libraries."""
    with pytest.raises(kind, match=match) as caught:
        door()
    said = str(caught.value)
    assert "\n" not in said
    assert not any(word in said for word in ("numpy.", "cv2", "Traceback", "object has no"))
    return said
