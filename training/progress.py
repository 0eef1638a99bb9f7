"""Progress of a run: a bar on a terminal, and `say`, which prints lines and flushes them at once."""

from collections.abc import Iterable
from functools import partial
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

say = partial(print, flush=True)


def with_progress(items: Iterable[T], what: str, unit: str = "it", count: int | None = None) -> Iterable[T]:
    """Yield the items with a progress bar on standard error, titled `what`; no bar unless that is a terminal."""
    return tqdm(items, what, count, unit=unit, leave=False, mininterval=1, disable=None)
