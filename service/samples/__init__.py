"""Shipped recordings to try without a camera: read from service/samples by the names in its index."""

import json
from functools import lru_cache
from pathlib import Path

from service.http.bodies import SampleBody

SAMPLES = Path(__file__).parent


class UnknownSample(LookupError):
    """No recording of that name."""


@lru_cache(maxsize=1)
def listing() -> tuple[SampleBody, ...]:
    """What is on offer; nothing where the folder has no index."""
    index = SAMPLES / "index.json"
    if not index.is_file():
        return ()
    return tuple(SampleBody(**entry) for entry in json.loads(index.read_text()))


def t64_of(name: str) -> bytes:
    """One recording's events in the t64 layout. Raises UnknownSample."""
    if name not in {sample.name for sample in listing()}:
        raise UnknownSample
    return (SAMPLES / f"{name}.t64").read_bytes()
