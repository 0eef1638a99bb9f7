"""Progress of a run: a bar on a terminal, and lines that are flushed at once."""

from collections.abc import Iterable
from functools import partial
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

say = partial(print, flush=True)


def counted(items: Iterable[T], what: str, unit: str = "it", count: int | None = None) -> Iterable[T]:
    """The items, counted on standard error while they are drawn; silent where that is no terminal."""
    return tqdm(items, what, count, unit=unit, leave=False, mininterval=1, disable=None)
