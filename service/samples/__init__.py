"""Shipped recordings to try without a camera: read from service/samples by the names in its index."""

import json
from functools import lru_cache
from pathlib import Path

from spikesight.service.http.bodies import SampleBody
from spikesight.service.http.errors import ServiceError

SAMPLES = Path(__file__).parent


class UnknownSample(ServiceError):
    """No recording of that name."""

    def __init__(self) -> None:
        super().__init__(404, "no recording of that name: GET /samples lists them")


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
